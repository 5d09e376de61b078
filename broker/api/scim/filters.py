"""The filters that directories send (RFC 7644, 3.4.2.2): equalities, joined by `and`. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from broker.api.scim.resources import ScimError
from broker.directories.provisioning import Entry

Wanted = Callable[[Entry], bool]
_READ: Mapping[str, Callable[[Entry], Any]] = {
    "id": lambda one: one.person_id,
    "username": lambda one: one.email.lower(),
    "emails.value": lambda one: one.email.lower(),
    "emails": lambda one: one.email.lower(),
    "externalid": lambda one: one.external_id,
    "displayname": lambda one: one.name.lower(),
    "active": lambda one: one.active,
}
_AS_SPELT = frozenset({"id", "externalid"})  # RFC 7643, section 3.1: `caseExact`
_PART = re.compile(r'\s*([A-Za-z.]+)\s+(?i:eq)\s+("(?:[^"\\]|\\.)*"|true|false)\s*')
_AND = re.compile(r"(?i:and)\b")
_MOST = 500


def parse(text: str) -> Wanted:
    """Whom it takes; all for none. Raises ScimError.

    >>> parse('userName eq "ada@t.example" and active eq true') is not None
    True
    """
    if not text.strip():
        return lambda _: True
    found, at = [], 0
    while True:
        part = _PART.match(text[:_MOST], at)
        if part is None or part[1].lower() not in _READ:
            raise ScimError(
                "a filter is equalities of id, userName, externalId, displayName, emails.value or "
                "active, joined by `and`",
                "invalidFilter",
            )
        found.append(_equal(part[1].lower(), json.loads(part[2])))
        at = part.end()
        if at == len(text):
            return lambda one: all(wanted(one) for wanted in found)
        joined = _AND.match(text, at)
        if joined is None:
            raise ScimError("parts of a filter are joined by `and`", "invalidFilter")
        at = joined.end()


def _equal(name: str, value: Any) -> Wanted:
    folded = value.lower() if isinstance(value, str) and name not in _AS_SPELT else value
    return lambda one: bool(_READ[name](one) == folded)
