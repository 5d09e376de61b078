"""The OpenAPI document of the API, made from the code: `python -m broker.api.specification`.

`docs/openapi.json` is this document, committed; a test fails when it is not.
"""

from __future__ import annotations

import json
import sys

from flask import Flask

from broker.api import describe


def make_specification() -> str:
    return json.dumps(describe(Flask("specification")), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(make_specification())
