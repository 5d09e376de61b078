"""Drills: a lease that reads nothing is attacked, revoked by the real recipe, and timed.

    ordered ─▶ passed | failed

What must stay true: none runs where no admin of the tenant allowed it; the role and its scope are
written down before they are made, and a drill is over only when a look found neither; one that
broke off is cleaned up, and never attacked again; what it took is shown to both sides.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import people, retries, tenants, trail
from broker.db import Retried
from broker.errors import Conflict, Invalid
from broker.grants import preflights
from broker.ids import TenantId, new_id
from broker.jobs import Queue
from broker.states import Move, StatefulRow, record_birth
from broker.tenants import TenantDatabase
from broker.tx import Tx

PASSED = Move(("ordered",), "passed", "drill.passed")
FAILED = Move(("ordered",), "failed", "drill.failed")
SHORTEST_S, LONGEST_S = 3600, 90 * 86400
_SHOWN = 100


class DrillsNotAllowed(Conflict):
    """No admin of the tenant allowed drills on this database."""

    type = "drills-not-allowed"


class Drill(StatefulRow, Retried):
    """`asked_at` is when the end was asked, by the clock of the tenant's server, as the three
    instants of the end are; `problem` says why it failed.
    """

    __tablename__ = "drill"
    database_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant_database.id"))
    ordered_at: Mapped[datetime]
    role_name: Mapped[str] = mapped_column(unique=True)
    scope_name: Mapped[str]
    begun_at: Mapped[datetime | None]
    asked_at: Mapped[datetime | None]
    login_refused_at: Mapped[datetime | None]
    last_session_dead_at: Mapped[datetime | None]
    role_gone_at: Mapped[datetime | None]
    problem: Mapped[str | None]


@dataclass(frozen=True, slots=True)
class DrillView:
    """Seconds are from asking for the end to each instant; None until it passed."""

    id: str
    database_id: str
    state: str
    ordered_at: datetime
    state_at: datetime
    refused_s: float | None
    dead_s: float | None
    gone_s: float | None
    problem: str | None
    stuck_reason: str | None


@dataclass(frozen=True, slots=True)
class DrillsView:
    """`p95_dead_s` is of the last 100 that passed, by nearest rank."""

    database_id: str
    allowed_since: datetime | None
    every_s: int | None
    p95_dead_s: float | None
    drills: Sequence[DrillView]


def allow(tx: Tx, database_id: str, *, allowed: bool, every_s: int | None) -> None:
    """A tenant's admin allows drills on a database, every so often where that is said; or not."""
    database = tenants.get_database(tx, database_id)
    tenant_id = TenantId(database.tenant_id)
    people.check(tx, "drill:allow", tenant_id)
    if every_s is not None and not (allowed and SHORTEST_S <= every_s <= LONGEST_S):
        problem = "from 1 hour to 90 days, and only where drills are allowed"
        raise Invalid("drills are made at most every hour", fields={"every_s": problem})
    if allowed:
        database.drills_since = database.drills_since or tx.at
    else:
        database.drills_since = None
    database.drill_every_s = every_s
    facts = {"every_s": every_s} if every_s is not None else {}
    kind = "drills.allowed" if allowed else "drills.forbidden"
    trail.record(tx, tenant_id, kind, database_id, facts)


def order(tx: Tx, database_id: str, queue: Queue) -> str:
    """Raises DrillsNotAllowed, PreflightRefused, Conflict; returns the drill's id."""
    database = tenants.get_database(tx, database_id)
    people.check(tx, "drill:order", TenantId(database.tenant_id))
    return _order(tx, database, queue)


def _order(tx: Tx, database: TenantDatabase, queue: Queue) -> str:
    tx.session.refresh(database, with_for_update=True)
    if database.drills_since is None:
        raise DrillsNotAllowed(
            f"no admin of the customer has allowed drills on {database.id}; they do it with: "
            f"broker databases allow-drills {database.id}"
        )
    refusal = preflights.find_refusal(tx, database.id)
    if refusal is not None:
        raise refusal
    if database.released_until is not None and tx.at < database.released_until:
        raise Conflict(f"{database.id} is released for a migration; drill it later")
    running = sa.select(Drill.id).where(Drill.database_id == database.id, Drill.state == "ordered")
    if (other := tx.session.scalar(running)) is not None:
        raise Conflict(f"{other} is under way there; wait for it")
    identity = new_id("drl")
    drill = Drill(
        id=identity,
        tenant_id=database.tenant_id,
        state="ordered",
        database_id=database.id,
        ordered_at=tx.at,
        role_name=f"sab_l_{identity[4:16]}_{secrets.token_hex(4)}",
        scope_name=f"sab_s_{secrets.token_hex(6)}",
    )
    retries.hint(drill, tx.at)
    facts = {"database": database.id, "role": drill.role_name, "scope": drill.scope_name}
    record_birth(tx, drill, "drill.ordered", facts=facts)
    queue.put(tx, "run_drill", drill.id, queue="access")
    return drill.id


def order_due(tx: Tx, queue: Queue, limit: int) -> int:
    """Order those whose time has come; what can't be ordered now is met again."""
    last = (
        sa.select(sa.func.max(Drill.ordered_at))
        .where(Drill.database_id == TenantDatabase.id)
        .scalar_subquery()
    )
    step = sa.func.make_interval(0, 0, 0, 0, 0, 0, TenantDatabase.drill_every_s)
    due = sa.select(TenantDatabase).where(
        TenantDatabase.removed_at.is_(None),
        TenantDatabase.drills_since.is_not(None),
        TenantDatabase.drill_every_s.is_not(None),
        sa.func.coalesce(last, TenantDatabase.drills_since) + step <= tx.at,
    )
    ordered = 0
    for database in tx.session.scalars(due.limit(limit)).all():
        try:
            _order(tx, database, queue)
        except Conflict:
            continue
        ordered += 1
    return ordered


def get_drill(tx: Tx, drill_id: str) -> Drill:
    return tx.session.get_one(Drill, drill_id)


def get_views(tx: Tx, database_id: str) -> DrillsView:
    """Raises NotFound, Denied."""
    database = tenants.get_database(tx, database_id)
    people.check(tx, "drill:read", TenantId(database.tenant_id))
    rows = tx.session.scalars(
        sa.select(Drill)
        .where(Drill.database_id == database_id)
        .order_by(Drill.ordered_at.desc())
        .limit(_SHOWN)
    ).all()
    views = [_view(row) for row in rows]
    dead = [view.dead_s for view in views if view.dead_s is not None]
    return DrillsView(
        database_id=database_id,
        allowed_since=database.drills_since,
        every_s=database.drill_every_s,
        p95_dead_s=percentile(dead, 0.95) if dead else None,
        drills=views,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """By nearest rank: the least value that at least `share` of them do not exceed.

    >>> percentile([3.0, 1.0, 2.0], 0.95), percentile([1.0], 0.5)
    (3.0, 1.0)
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _view(drill: Drill) -> DrillView:
    def after(instant: datetime | None) -> float | None:
        if drill.state != "passed" or instant is None or drill.asked_at is None:
            return None
        return (instant - drill.asked_at) / timedelta(seconds=1)

    return DrillView(
        id=drill.id,
        database_id=drill.database_id,
        state=drill.state,
        ordered_at=drill.ordered_at,
        state_at=drill.state_at,
        refused_s=after(drill.login_refused_at),
        dead_s=after(drill.last_session_dead_at),
        gone_s=after(drill.role_gone_at),
        problem=drill.problem,
        stuck_reason=drill.stuck_reason,
    )
