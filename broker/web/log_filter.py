"""Reading the form that chooses entries of a log. Days are in UTC; the last one is included."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

from werkzeug.datastructures import MultiDict

from broker.audit.selecting import Wanted
from broker.errors import Invalid
from broker.ids import is_id

FIELDS = ("kind", "person", "ticket", "since", "until")
_KIND = re.compile(r"[a-z_]{1,40}(\.[a-z_]{1,40})?")


def asked_of(sent: MultiDict[str, str]) -> dict[str, str]:
    """The fields that were filled in, as they were, for links and for the form again."""
    found = {name: sent.get(name, "").strip() for name in FIELDS}
    return {name: text for name, text in found.items() if text}


def read_wanted(sent: MultiDict[str, str]) -> Wanted:
    """Raises Invalid naming the field."""
    asked = asked_of(sent)
    kind = asked.get("kind")
    if kind is not None and not _KIND.fullmatch(kind):
        raise Invalid("a kind reads like grant.approved, or grant for all of them", field="kind")
    for name, prefix in (("person", "psn"), ("ticket", "tkt")):
        if name in asked and not is_id(asked[name], prefix):
            raise Invalid(f"a {name}'s id begins with {prefix}_", field=name)
    until = _day(asked, "until")
    return Wanted(
        kind=kind,
        person=asked.get("person"),
        ticket=asked.get("ticket"),
        since=_day(asked, "since"),
        until=until + timedelta(days=1) if until else None,
    )


def _day(asked: dict[str, str], name: str) -> datetime | None:
    if name not in asked:
        return None
    try:
        return datetime.combine(date.fromisoformat(asked[name]), time(), UTC)
    except ValueError:
        raise Invalid("a day reads like 2026-03-01", field=name) from None
