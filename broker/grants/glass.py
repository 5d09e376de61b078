"""The glass: what is open now, its sessions, and the statements that they run.

    asked, for one reader ─▶ looked at by a worker ─▶ sealed to that reader ─▶ read, forgotten

The web process can't reach a tenant's server, and a statement is the tenant's data: it may hold
values. So who asks makes a key for one answer, a worker looks and seals to it, and what lies in the
control database in between is unreadable once it was read (`keys.passing`). What must stay true:
which leases, and whose statements, is decided here, as the person who asks: the tenant's own people
see all of theirs with statements, an engineer the own ones without; no text of a statement is kept
or logged; what could not be looked at is told as unknown, never as empty; and that somebody looked
stands in the tenant's log, once a minute for each person.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from broker import people, trail
from broker.db import Base, Database
from broker.errors import TooMany
from broker.grants.queries import LeaseView, list_leases
from broker.grants.states import LEASE_OPEN
from broker.ids import PersonId, TenantId, new_id
from broker.jobs import Queue
from broker.keys.passing import Reader
from broker.languages import mark
from broker.paging import Page
from broker.tx import Actor, Tx

WAIT_S = 5.0  # for the worker
KEPT = timedelta(minutes=1)
_NOTED_EVERY = timedelta(minutes=1)
_MOST_LEASES = Page(limit=200)
_MOST_LOOKS, _WITHIN = 20, timedelta(seconds=10)  # of one person
_places = threading.BoundedSemaphore(6)  # of 16 threads that a process has
NO_ANSWER = mark("no worker answered; nothing is known of its sessions")


class GlassLook(Base):
    """`lease_ids` are looked at, `statement_ids` are those of them whose statements are read."""

    __tablename__ = "glass_look"
    id: Mapped[str] = mapped_column(primary_key=True)
    asked_by: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    asked_at: Mapped[datetime]
    lease_ids: Mapped[list[str]]
    statement_ids: Mapped[list[str]]
    public: Mapped[bytes]
    sealed: Mapped[bytes | None]


class GlassReader(Base):
    __tablename__ = "glass_reader"
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenant.id"), primary_key=True)
    noted_at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class SessionView:
    """As `broker.engines.postgres.watching.SessionSeen` has it."""

    since: datetime | None
    origin: str | None
    state: str | None
    state_since: datetime | None
    statement_since: datetime | None
    statement: str | None


@dataclass(frozen=True, slots=True)
class Pane:
    """One open lease. `problem` says why nothing is known of its sessions, when that is so."""

    lease: LeaseView
    sessions: Sequence[SessionView]
    problem: str | None
    with_statements: bool

    @property
    def id(self) -> str:
        return self.lease.id


def look(
    database: Database,
    actor: Actor,
    queue: Queue,
    tenant_id: TenantId | None = None,
    *,
    wait_s: float | None = None,
) -> list[Pane]:
    """What is open now, for `actor`: of one tenant, or all that it may see. Raises TooMany."""
    reader, identity = Reader(), new_id("gls")
    until = time.monotonic() + (WAIT_S if wait_s is None else wait_s)
    if not _places.acquire(blocking=False):
        raise TooMany("many are looking now; look again in a moment", retry_after_s=2)
    try:
        with database.bell.heard(identity) as rung:  # before it is asked: none is lost
            with database.begin(actor) as tx:
                leases, shown = _ask(tx, identity, reader.public, tenant_id, queue)
            sealed = None
            while leases and sealed is None and time.monotonic() < until:
                rung.wait(0.2)
                rung.clear()
                sealed = _find_answer(database, actor, identity)
    finally:
        _places.release()
    answer = json.loads(reader.open(sealed, identity.encode())) if sealed else {}
    return [_pane(lease, answer.get(lease.id), lease.id in shown) for lease in leases]


def _ask(
    tx: Tx, identity: str, public: bytes, tenant_id: TenantId | None, queue: Queue
) -> tuple[list[LeaseView], set[str]]:
    """The leases that are looked at, and the ids of those whose statements are."""
    people.list_readable(tx, "session:read", tenant_id)  # raises for who may look at none
    own = PersonId(tx.actor.person_id or "") if tx.actor.side == "vendor" else None
    found = list_leases(tx, tenant_id, person_id=own, states=LEASE_OPEN, page=_MOST_LEASES)
    logins = [lease for lease in found if lease.kind == "login"]  # a token has no session of ours
    leases = [le for le in logins if people.may(tx, "session:read", TenantId(le.tenant_id))]
    tenants = {TenantId(lease.tenant_id) for lease in leases}
    telling = {t for t in tenants if own is None and people.may(tx, "statement:read", t)}
    shown = {lease.id for lease in leases if lease.tenant_id in telling}
    if not leases:
        return [], set()
    _check_pace(tx)
    row = GlassLook(
        id=identity,
        asked_by=tx.actor.person_id or "",
        asked_at=tx.at,
        lease_ids=[lease.id for lease in leases],
        statement_ids=sorted(shown),
        public=public,
    )
    tx.session.add(row)
    tx.session.flush()
    for tenant in sorted(tenants):
        count = sum(lease.tenant_id == tenant for lease in leases)
        _note(tx, tenant, {"logins": count, "statements": tenant in telling})
    forget_old(tx)
    queue.put(tx, "look_through_glass", identity, queue="access")
    return leases, shown


def _check_pace(tx: Tx) -> None:
    looks = tx.session.scalar(
        sa.select(sa.func.count()).where(
            GlassLook.asked_by == tx.actor.person_id, GlassLook.asked_at > tx.at - _WITHIN
        )
    )
    if (looks or 0) >= _MOST_LOOKS:
        wait_s = int(_WITHIN.total_seconds())
        raise TooMany("you look too often; look again in a moment", retry_after_s=wait_s)


def _note(tx: Tx, tenant_id: TenantId, facts: Mapping[str, Any]) -> None:
    """One entry a minute for each person: who leaves the page open does not fill the log."""
    noted = tx.session.execute(
        insert(GlassReader)
        .values(person_id=tx.actor.person_id, tenant_id=tenant_id, noted_at=tx.at)
        .on_conflict_do_update(
            index_elements=[GlassReader.person_id, GlassReader.tenant_id],
            set_={"noted_at": tx.at},
            where=GlassReader.noted_at <= tx.at - _NOTED_EVERY,
        )
        .returning(GlassReader.person_id)
    ).scalar()
    if noted is not None:
        trail.record(tx, tenant_id, "glass.read", tenant_id, facts)


def forget_old(tx: Tx) -> None:
    """Delete the looks that nobody can open any more."""
    tx.session.execute(sa.delete(GlassLook).where(GlassLook.asked_at < tx.at - KEPT))


def _find_answer(database: Database, actor: Actor, identity: str) -> bytes | None:
    with database.begin(actor) as tx:
        return tx.session.scalar(sa.select(GlassLook.sealed).where(GlassLook.id == identity))


def _pane(lease: LeaseView, answer: Mapping[str, Any] | None, shown: bool) -> Pane:  # noqa: FBT001
    if answer is None:
        return Pane(lease, (), NO_ANSWER, shown)
    return Pane(lease, [_session(item) for item in answer["sessions"]], answer["problem"], shown)


def _session(item: Mapping[str, Any]) -> SessionView:
    def instant(name: str) -> datetime | None:
        return datetime.fromisoformat(item[name]) if item[name] else None

    return SessionView(
        since=instant("since"),
        origin=item["origin"],
        state=item["state"],
        state_since=instant("state_since"),
        statement_since=instant("statement_since"),
        statement=item["statement"],
    )
