"""How many logins may be asked for in a while: by a person, for a tenant, on a server.

A stolen token, or a script that runs wild, makes roles on a tenant's server and entries in its log;
it is told when to come back instead. Counted from the logins themselves, ended ones too, so nothing
can be reset. Requests of one instant do not see each other: a limit may be passed by as many as run
side by side.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from broker.errors import TooMany
from broker.grants.model import Lease
from broker.settings import Rates
from broker.tenants import TenantDatabase
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
    on = ("database_id", ask.database_id)
    if ask.database_id is None:
        on = ("server_id", ask.server_id)
    found = [
        _Limit("person", "you asked", rates.person, "person_id", ask.person_id),
        _Limit("tenant", "were asked for this customer", rates.tenant, "tenant_id", ask.tenant_id),
        _Limit("server", "were asked on this server", rates.server, *on),
    ]
    limits = [limit for limit in found if limit.count]
    waits = zip(_list_waits_s(tx, limits), limits, strict=True)
    wait_s, worst = max(waits, key=lambda wait: wait[0], default=(0, None))
    if wait_s and worst is not None:
        minutes = int(WINDOW.total_seconds() // 60)
        raise TooManyLogins(
            f"{worst.count} logins {worst.words} in {minutes} minutes; come back in {wait_s} s",
            of=worst.of,
            retry_after_s=wait_s,
        )


@dataclass(frozen=True, slots=True)
class _Limit:
    """`count` logins of which `column` is `value`, in a while; `words` are for the answer."""

    of: str
    words: str
    count: int
    column: str
    value: str | None


def _list_waits_s(tx: Tx, limits: Sequence[_Limit]) -> list[int]:
    """For each, seconds until fewer were asked within the window; 0 when that is so now."""
    if not limits:
        return []
    asked: dict[str, Any] = {"since": tx.at - WINDOW}
    for limit in limits:
        asked |= {limit.column: limit.value, f"skip_{limit.column}": limit.count - 1}
    row = tx.session.execute(_ask(tuple(limit.column for limit in limits)), asked).one()
    return [0 if at is None else max(1, _seconds(at + WINDOW - tx.at)) for at in row]


def _seconds(span: timedelta) -> int:
    return math.ceil(span.total_seconds())


def _matches(column: str) -> sa.ColumnElement[bool]:
    """A server holds the logins of every database that is registered on it, whoever's it is."""
    value: sa.BindParameter[str] = sa.bindparam(column)
    lease = Lease.__table__.c[column]
    if column != "database_id":
        return lease == value
    one, other = TenantDatabase.__table__.alias(), TenantDatabase.__table__.alias()
    same = sa.and_(one.c.host == other.c.host, one.c.port == other.c.port)
    there = sa.select(other.c.id).select_from(one.join(other, same)).where(one.c.id == value)
    return lease.in_(there)


@functools.cache  # built once: every login asks it
def _ask(columns: tuple[str, ...]) -> sa.Select[*tuple[Any, ...]]:
    """When the last that still fills each limit was asked, in one row."""
    lease = Lease.__table__.c
    return sa.select(
        *(
            sa.select(lease.asked_at)
            .where(
                _matches(column),
                lease.asked_at > sa.bindparam("since"),
                lease.platform_id.is_(None),
                lease.storage_id.is_(None),
            )
            .order_by(lease.asked_at.desc())
            .offset(sa.bindparam(f"skip_{column}", type_=sa.Integer))
            .limit(1)
            .scalar_subquery()
            .label(column)
            for column in columns
        )
    )
