"""What the last look at a registered server found, who may read it, and what it forbids.

One row for each database and test server; every look leaves an entry with the digest of what it
found. What must stay true: a fatal finding stops the making of roles and copies there until a later
look finds none, and so do a look that was never made and one that is days old; what is found of a
server that several tenants share is told to none of them (G12).
The looking is in `preflight_steps`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, mapped_column

from broker import people, tenants
from broker.db import Base, Json, Retried
from broker.errors import Conflict
from broker.ids import TenantId, is_id
from broker.jobs import Queue
from broker.retries import HINT_S
from broker.tenancy import DATABASE, ROWS, SCHEMA
from broker.tenants import TenantDatabase, TestServer
from broker.tx import Tx

EVERY = timedelta(hours=24)
LOGINS_EVERY = timedelta(minutes=10)
EVERY_IF_FATAL = timedelta(hours=1)
_STALE = timedelta(minutes=10)
TOO_OLD = 3 * EVERY  # nobody knows what stands there by now
# What the tenant's people read of a server that it shares: nothing but these, which name things of
# the one database. All others name roles, databases or lines of the whole server.
_OF_DATABASE = frozenset(
    {
        *("schema-missing", "missing-usage", "missing-select", "missing-default-select"),
        *("schema-create-public", "relation-public", "large-object-public", "policy-by-setting"),
        *("definer-function-public", "extension-reaches-out", "extension-installed"),
        *("untrusted-language", "row-security", "event-trigger", "server-too-old"),
        *("server-too-new", "standby", "password-encryption", "dead-man-missing"),
    }
)
_OF_SERVER = frozenset({"server-too-old", "server-too-new", "standby", "password-encryption"})
# Of a database that is shared, those that name things in the tenant's own schemas; of tables that
# are shared not even these, for partitions may be named for another tenant.
_OF_SCHEMAS = _OF_SERVER | {
    *("schema-missing", "missing-usage", "missing-select", "policy-by-setting", "row-security")
}
_OF_FORM = {
    DATABASE: _OF_DATABASE,
    SCHEMA: _OF_SCHEMAS,
    ROWS: _OF_SERVER | {"schema-missing", "missing-usage"},
}
_ELSEWHERE = "What was found is about the server as a whole; the vendor's operator reads it."


class PreflightRefused(Conflict):
    """A fatal finding stands, or nobody has looked of late; `facts` hold the `codes`."""

    type = "preflight-refused"


class Preflight(Base, Retried):
    """`target` is the id of a database or test server. A look is due while `asked_at` is later
    than `checked_at`, which is when the last look began. `unexplained` are the logins of that look.
    """

    __tablename__ = "preflight"
    target: Mapped[str] = mapped_column(primary_key=True)
    asked_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    findings: Mapped[list[Json]] = mapped_column(JSONB)
    fatal: Mapped[int]
    unexplained: Mapped[list[str]]
    logins_asked_at: Mapped[datetime | None]

    @property
    def is_due(self) -> bool:
        return self.checked_at is None or self.checked_at < self.asked_at


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding as `broker.engines.postgres.preflight.Finding` has it."""

    code: str
    severity: str
    what: str
    why: str
    sql: str | None


@dataclass(frozen=True, slots=True)
class PreflightView:
    """`pending`: a look was asked for and has not been made. `tenant_name` is None of a server.

    `unexplained` are logins on the server that nobody registered, looked for every 10 minutes.
    """

    target: str
    name: str
    tenant_name: str | None
    pending: bool
    asked_at: datetime | None
    checked_at: datetime | None
    fatal: int
    warnings: int
    findings: Sequence[FindingView]
    unexplained: Sequence[str]
    attempts: int
    stuck_since: datetime | None
    stuck_reason: str | None


def ask(tx: Tx, target: str, queue: Queue) -> None:
    """Order a look, whatever the last one found; two orders before it are one look.

    None is made at a host of dedicated servers: there is none before a copy is made.
    """
    if is_id(target, "srv") and tenants.get_server(tx, target).is_dedicated:
        return
    values: Mapping[str, Any] = {
        "asked_at": tx.at,
        "next_try_at": tx.at + timedelta(seconds=HINT_S),
        "attempts": 0,
        "stuck_since": None,
        "stuck_reason": None,
    }
    first = insert(Preflight).values(target=target, findings=[], fatal=0, unexplained=[], **values)
    tx.session.execute(first.on_conflict_do_update(index_elements=["target"], set_=values))
    queue.put(tx, "check_target", target, queue="access")


def ask_by_click(tx: Tx, target: str, queue: Queue) -> None:
    """A person orders a look. Raises NotFound, Denied."""
    _get_registered(tx, target)
    ask(tx, target, queue)


def put_due(tx: Tx, queue: Queue, limit: int) -> int:
    """Enqueue looks that are due: the first, the daily one, and those that failed."""
    registered = sa.union_all(
        sa.select(TenantDatabase.id).where(TenantDatabase.removed_at.is_(None)),
        sa.select(TestServer.id).where(
            TestServer.removed_at.is_(None), TestServer.kind == "shared"
        ),
    ).subquery()
    rows = tx.session.execute(
        sa.select(registered.c.id, Preflight)
        .outerjoin(Preflight, Preflight.target == registered.c.id)
        .where(sa.or_(Preflight.target.is_(None), Preflight.next_try_at <= tx.at))
        .limit(limit)
    ).all()
    for target, row in rows:
        if row is None or not row.is_due:
            ask(tx, target, queue)
        else:
            row.next_try_at = tx.at + timedelta(seconds=HINT_S)
            queue.put(tx, "check_target", target, queue="access")
    return len(rows)


def put_due_logins(tx: Tx, queue: Queue, limit: int) -> int:
    """Enqueue looks at the logins alone: often, for who comes and goes within a day is seen by
    no daily look.
    """
    rows = tx.session.scalars(
        sa.select(Preflight)
        .join(TenantDatabase, TenantDatabase.id == Preflight.target)
        .where(
            TenantDatabase.removed_at.is_(None),
            Preflight.checked_at.is_not(None),
            sa.func.coalesce(Preflight.logins_asked_at, Preflight.checked_at)
            <= tx.at - LOGINS_EVERY,
        )
        .limit(limit)
    ).all()
    for row in rows:
        row.logins_asked_at = tx.at
        queue.put(tx, "watch_logins", row.target, queue="access")
    return len(rows)


def find_refusal(tx: Tx, target: str) -> PreflightRefused | None:
    """Why nothing may be made on `target` now, if so. One read by primary key.

    A host of dedicated servers is never looked at: there is none before a copy is made.
    """
    row = tx.session.get(Preflight, target)
    noun = "databases" if is_id(target, "dbs") else "servers"
    command = f"broker {noun} check {target}"
    if row is None or row.checked_at is None:
        if is_id(target, "srv") and tenants.get_server(tx, target).is_dedicated:
            return None
        return PreflightRefused(
            f"{target} has not been looked at yet; it is within minutes, or with: {command}",
            codes=["not-looked-at"],
        )
    if row.fatal:
        codes = sorted({item["code"] for item in row.findings if item["severity"] == "fatal"})
        return PreflightRefused(
            f"the last look at {target} found what must be mended first: {', '.join(codes)}; "
            f"see it, mend it, and look again with: {command}",
            codes=codes,
        )
    if tx.at - row.checked_at > TOO_OLD:
        return PreflightRefused(
            f"the last look at {target} was made {row.checked_at:%Y-%m-%d %H:%M} UTC, too long "
            f"ago; see why none was made since, and look again with: {command}",
            codes=["look-too-old"],
        )
    return None


def ask_if_stale(tx: Tx, target: str, queue: Queue) -> None:
    """Order a look unless one is due already or was made in the last 10 minutes."""
    row = tx.session.get(Preflight, target)
    if row is None or (not row.is_due and tx.at - (row.checked_at or row.asked_at) > _STALE):
        ask(tx, target, queue)


def get_view(tx: Tx, target: str) -> PreflightView:
    """The last look at a database or test server, for who may order one. Raises NotFound, Denied"""
    registered = _get_registered(tx, target)
    return _view(tx, registered, tx.session.get(Preflight, target))


def list_views(tx: Tx) -> list[PreflightView]:
    """Of every database and server of which the actor may read it."""
    readable = people.list_readable(tx, "database:check")
    query = sa.select(TenantDatabase).where(
        TenantDatabase.removed_at.is_(None), TenantDatabase.tenant_id.in_(readable)
    )
    targets: list[TenantDatabase | TestServer] = [
        *tx.session.scalars(query.order_by(TenantDatabase.name, TenantDatabase.id))
    ]
    if people.may(tx, "server:check"):
        targets += [server for server in tenants.list_servers(tx) if not server.is_dedicated]
    ids = [item.id for item in targets]
    rows = {
        row.target: row
        for row in tx.session.scalars(sa.select(Preflight).where(Preflight.target.in_(ids)))
    }
    return [_view(tx, item, rows.get(item.id)) for item in targets]


def _get_registered(tx: Tx, target: str) -> TenantDatabase | TestServer:
    if is_id(target, "dbs"):
        database = tenants.get_database(tx, target)
        people.check(tx, "database:check", TenantId(database.tenant_id))
        return database
    people.check(tx, "server:check")
    return tenants.get_server(tx, target)


def _view(tx: Tx, registered: TenantDatabase | TestServer, row: Preflight | None) -> PreflightView:
    tenant_name = None
    hides = False
    findings = [FindingView(**item) for item in row.findings] if row else []
    if isinstance(registered, TenantDatabase):
        tenant_name = tenants.get_tenant(tx, registered.tenant_id).name
        hides = tx.actor.side == "tenant" and is_shared(tx, registered)
        if hides:
            findings = list(_narrow(findings, _OF_FORM[registered.whose.form]))
    return PreflightView(
        target=registered.id,
        name=registered.name,
        tenant_name=tenant_name,
        pending=row is not None and row.is_due,
        asked_at=row.asked_at if row else None,
        checked_at=row.checked_at if row else None,
        fatal=row.fatal if row else 0,
        warnings=sum(finding.severity == "warning" for finding in findings),
        findings=findings,
        unexplained=row.unexplained if row and not hides else [],
        attempts=row.attempts if row else 0,
        stuck_since=row.stuck_since if row else None,
        stuck_reason=row.stuck_reason if row else None,
    )


def is_shared(tx: Tx, database: TenantDatabase) -> bool:
    """Whether another tenant's database is registered on the same server, or may be: the answer
    for a part of a database does not tell whether another part is registered.
    """
    if database.whose.is_shared:
        return True
    query = sa.select(TenantDatabase.id).where(
        TenantDatabase.host == database.host,
        TenantDatabase.port == database.port,
        TenantDatabase.tenant_id != database.tenant_id,
        TenantDatabase.removed_at.is_(None),
    )
    return tx.session.scalar(query.limit(1)) is not None


def _narrow(findings: Iterable[FindingView], readable: Collection[str]) -> Iterable[FindingView]:
    for finding in findings:
        if finding.code in readable:
            yield finding
        else:
            yield FindingView(finding.code, finding.severity, _ELSEWHERE, finding.why, None)
