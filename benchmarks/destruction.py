"""Destruction: `make bench NAME=destruction [SIZE=small]`. The last line is one JSON object.

`close_to_destroyed_…`: from tickets closing until their copies are destroyed (see `_closing.py`).
`sweep_ms` and `sweep_growth`: what a sweep costs beside much that lives and very much that has
ended (see `_sweeping.py`).
"""

from __future__ import annotations

import json

import _closing
import _sweeping


def main() -> None:
    print(json.dumps({**_closing.measured(), **_sweeping.measured()}))


if __name__ == "__main__":
    main()
