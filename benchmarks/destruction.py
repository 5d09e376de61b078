"""Destruction: `make bench NAME=destruction [SIZE=small]`. The last line is one JSON object.

`sweep_ms` and `sweep_growth`: what a sweep costs beside much that lives and very much that has
ended (see `_sweeping.py`).
"""

from __future__ import annotations

import json

import _sweeping


def main() -> None:
    print(json.dumps(_sweeping.measured()))


if __name__ == "__main__":
    main()
