"""`docs/problems.md`: each `type` that an error of the API may have.

    python -m broker.api.problem_types > docs/problems.md

A `type` is stable: programs match on its last word, so one that was given is never another error's.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import broker
from broker.api.problems import status_of
from broker.errors import BrokerError, NotFound

# Parts whose errors no answer of the API holds.
_NOT_OF_THE_API = ("broker.cli", "broker.demo", "broker.migrations", "broker.embedded")
_OF_SERVER = {"Defect": 500}

HEAD = """# Errors of the API

Every error is `application/problem+json` (RFC 9457). Its `type` is `https://VENDOR/problems/WORD`,
where WORD is one of these and stays what it is; `detail` says what happened this time. Each broker
shows them at `/api/docs`, where `/problems/WORD` leads. Made from the code by
`python -m broker.api.problem_types > docs/problems.md`.

| word | status | what happened |
|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class ProblemType:
    word: str
    status: int
    says: str


def import_all() -> None:
    """The broker's parts, so that `list_types` knows every error; the web has those that it may
    answer loaded anyway.
    """
    for module in pkgutil.walk_packages(broker.__path__, "broker."):
        if not module.name.startswith(_NOT_OF_THE_API):
            importlib.import_module(module.name)


def list_types() -> list[ProblemType]:
    """Of the errors that are loaded, by their words. A family is told, not those that share it."""
    found = {kind.type: kind for kind in list_classes()}
    return [ProblemType(word, _status(kind), _says(kind)) for word, kind in sorted(found.items())]


def list_classes() -> Iterator[type[BrokerError]]:
    """All that name a word of their own, but for the kinds of "not found": they share one."""
    seen: list[type[BrokerError]] = [BrokerError]
    while seen:
        kind = seen.pop()
        if kind is not NotFound:
            seen += kind.__subclasses__()
        ours = kind.__module__.startswith("broker.")
        if "type" in vars(kind) and ours and not kind.__module__.startswith(_NOT_OF_THE_API):
            yield kind


def _status(kind: type[BrokerError]) -> int:
    return _OF_SERVER.get(kind.__name__) or status_of(kind)


def _says(kind: type[BrokerError]) -> str:
    """The first paragraph of what the class says of itself."""
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def write_page() -> str:
    return HEAD + "".join(f"| `{one.word}` | {one.status} | {one.says} |\n" for one in list_types())


if __name__ == "__main__":
    import_all()
    sys.stdout.write(write_page())
