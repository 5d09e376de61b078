"""How many logins may be asked for in a while: by a person, for a tenant, on a server.

A stolen token, or a script that runs wild, makes roles on a tenant's server and entries in its log;
it is told when to come back instead. Counted from the logins themselves, ended ones too, so nothing
can be reset. Requests of one instant do not see each other: a limit may be passed by as many as run
side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from broker.errors import TooMany
from broker.grants.model import Lease
from broker.settings import Rates
from broker.tx import Tx

WINDOW = timedelta(minutes=10)


class TooManyLogins(TooMany):
    """`facts['of']` is `person`, `tenant` or `server`; `retry_after_s` says when to come back."""

    type = "too-many-logins"


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks, for whom, and the id of the database or test server on which."""

    person_id: str
    tenant_id: str
    database_id: str | None
    server_id: str | None


def check(tx: Tx, ask: Ask, rates: Rates) -> None:
    """Raises TooManyLogins, naming the limit that takes longest to clear."""
    on = (Lease.database_id, ask.database_id)
    if ask.database_id is None:
        on = (Lease.server_id, ask.server_id)
    found = [
        ("person", "you asked", rates.person, Lease.person_id, ask.person_id),
        ("tenant", "were asked for this customer", rates.tenant, Lease.tenant_id, ask.tenant_id),
        ("server", "were asked on this server", rates.server, *on),
    ]
    waits = [
        (_find_wait_s(tx, limit, column, value), of, words, limit)
        for of, words, limit, column, value in found
        if limit
    ]
    wait_s, of, words, limit = max(waits, default=(0, "", "", 0))
    if wait_s:
        minutes = int(WINDOW.total_seconds() // 60)
        raise TooManyLogins(
            f"{limit} logins {words} in {minutes} minutes; come back in {wait_s} s",
            of=of,
            retry_after_s=wait_s,
        )


def _find_wait_s(
    tx: Tx, limit: int, column: sa.orm.InstrumentedAttribute[Any], value: str | None
) -> int:
    """Seconds until fewer than `limit` were asked within the window; 0 when that is so now."""
    at: datetime | None = tx.session.scalar(
        sa.select(Lease.asked_at)
        .where(column == value, Lease.asked_at > tx.at - WINDOW, Lease.platform_id.is_(None))
        .order_by(Lease.asked_at.desc())
        .offset(limit - 1)
        .limit(1)
    )
    if at is None:
        return 0
    return max(1, math.ceil((at + WINDOW - tx.at).total_seconds()))
