"""Looking at a registered database or test server, and what its tenant's log says of it.

The look itself is `broker.engines.postgres.preflight`: read-only, and of names alone. What must
stay true: a look that could not be made leaves the last findings as they are; a login that nobody
explains is told once, when it is first seen, in the log of the tenant whose server it is.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from broker import retries, tenants, trail
from broker.db import Busy, Database, Json
from broker.engines import Target
from broker.engines.postgres.preflight import (
    Finding,
    KnownLogin,
    LoginSeen,
    Unexplained,
    check_live,
    check_test_server,
    find_unexplained,
    list_logins,
)
from broker.engines.postgres.preflight.logins import ATTRIBUTES
from broker.engines.postgres.preflight.shared import check_shared_rows
from broker.errors import NotFound
from broker.grants.drills import Drill
from broker.grants.lease_scopes import tryout_of
from broker.grants.model import Lease
from broker.grants.preflights import EVERY, EVERY_IF_FATAL, Preflight, is_shared
from broker.grants.states import LEASE_OPEN
from broker.grants.targets import LoginOpener, live_target, server_target
from broker.ids import TenantId, is_id
from broker.jobs import Queue
from broker.logs import get_log
from broker.retries import FAILURES, describe
from broker.tenancy import DATABASE, ROWS
from broker.tenants import TenantDatabase, TestServer
from broker.trail import Personal
from broker.tx import Tx, system

_WORKER = system("worker")
_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class _Work:
    """What the look needs; `tenant_id` is None for a test server."""

    target_id: str
    began_at: datetime
    target: Target
    tenant_id: TenantId | None = None
    schemas: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    form: str = DATABASE


def check(database: Database, opener: LoginOpener, target_id: str, queue: Queue) -> None:
    """Look at one server and keep what was found; a failure is noted and tried again."""
    try:
        with database.exclusive(f"preflight {target_id}"):
            try:
                work = _read_work(database, opener, target_id)
                if work is None:
                    return
                findings, logins = _look(work)
            except FAILURES as error:
                _note_failure(database, target_id, error)
                return
            _keep(database, work, findings, logins, queue)
    except Busy:
        return


def _read_work(database: Database, opener: LoginOpener, target_id: str) -> _Work | None:
    with database.begin(_WORKER) as tx:
        row = tx.session.get(Preflight, target_id)
        if row is None or not row.is_due:
            return None
        try:
            if not is_id(target_id, "dbs"):
                server = tenants.get_server(tx, target_id)
                return _Work(target_id, tx.at, server_target(opener, server))
            registered = tenants.get_database(tx, target_id)
        except NotFound:  # it was taken off the list meanwhile
            return None
        return _work_of(tx, opener, registered)


def _work_of(tx: Tx, opener: LoginOpener, registered: TenantDatabase) -> _Work:
    return _Work(
        target_id=registered.id,
        began_at=tx.at,
        target=live_target(opener, registered),
        tenant_id=TenantId(registered.tenant_id),
        schemas=tuple(registered.schemas),
        known=tuple(sorted(_list_known(tx, registered))),
        form=registered.whose.form,
    )


def watch_logins(database: Database, opener: LoginOpener, database_id: str) -> None:
    """Look at who can log in, or is in, on a tenant's server; tell what nobody explains.

    What can't be looked at now is met by the next round, and told by the daily look.
    """
    try:
        with database.exclusive(f"preflight {database_id}"):
            with database.begin(_WORKER) as tx:
                work = _work_of(tx, opener, tenants.get_database(tx, database_id))
            logins = list_logins(work.target)
            with database.begin(_WORKER) as tx:
                row = tx.session.get_one(Preflight, database_id, with_for_update=True)
                _tell_unexplained(tx, work, row, logins)
    except FAILURES as error:  # Busy, too: the whole look is under way
        _log.info("logins_not_looked_at", id=database_id, reason=describe(error))


def _list_known(tx: Tx, registered: TenantDatabase) -> set[str]:
    """Names that are registered on the whole server: our logins, and those that tenants named."""
    known: set[str] = set()
    databases = sa.select(TenantDatabase).where(
        TenantDatabase.host == registered.host,
        TenantDatabase.port == registered.port,
        TenantDatabase.removed_at.is_(None),
    )
    for row in tx.session.scalars(databases):
        known |= {row.login, *row.known_logins}
    ours = sa.select(TestServer.login).where(
        TestServer.host == registered.host,
        TestServer.port == registered.port,
        TestServer.removed_at.is_(None),
    )
    return known | set(tx.session.scalars(ours))


def _look(work: _Work) -> tuple[list[Finding], list[LoginSeen]]:
    if work.tenant_id is None:
        return check_test_server(work.target), []
    findings = check_live(work.target, work.schemas, work.known)
    if work.form == ROWS:
        findings += check_shared_rows(work.target, work.schemas)
    return findings, list_logins(work.target)


def _keep(
    database: Database,
    work: _Work,
    findings: Sequence[Finding],
    logins: Sequence[LoginSeen],
    queue: Queue,
) -> None:
    found: list[Json] = [asdict(finding) for finding in findings]
    fatal = sum(finding.severity == "fatal" for finding in findings)
    facts = {
        "fatal": fatal,
        "warnings": sum(finding.severity == "warning" for finding in findings),
        "digest": hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest(),
    }
    with database.begin(_WORKER) as tx:
        row = tx.session.get_one(Preflight, work.target_id, with_for_update=True)
        row.findings, row.fatal, row.checked_at = found, fatal, work.began_at
        row.attempts = 0
        retries.note_success(row)
        next_at = work.began_at + (EVERY_IF_FATAL if fatal else EVERY)
        row.next_try_at = tx.at if row.is_due else next_at
        trail.record(tx, work.tenant_id, "preflight.made", work.target_id, facts)
        if work.tenant_id is not None:
            _tell_unexplained(tx, work, row, logins)
        if not fatal:
            _put_waiting_leases(tx, work.target_id, queue)


def _tell_unexplained(tx: Tx, work: _Work, row: Preflight, logins: Sequence[LoginSeen]) -> None:
    """Tell each login that the last look had not seen.

    On a server that tenants share, in the vendor's log: whose the login is can't be known (G12).
    """
    roles = tx.session.scalars(sa.select(Lease.role_name).where(Lease.state.in_(LEASE_OPEN)))
    drills = tx.session.scalars(sa.select(Drill.role_name).where(Drill.state == "ordered"))
    # Attributes are not registered, so names alone are compared.
    ours = [*roles, *drills]
    names = (*work.known, *ours, *map(tryout_of, ours))
    known = [KnownLogin(name, frozenset(ATTRIBUTES)) for name in names]
    strangers = find_unexplained(logins, known)
    shared = is_shared(tx, tenants.get_database(tx, work.target_id))
    for stranger in strangers:
        if stranger.login.name not in row.unexplained:
            _tell(tx, None if shared else work.tenant_id, work.target_id, stranger)
    row.unexplained = [stranger.login.name for stranger in strangers]


def _tell(tx: Tx, tenant_id: TenantId | None, target_id: str, stranger: Unexplained) -> None:
    facts = {"attributes": list(stranger.excess), "sessions": stranger.login.sessions}
    login = [Personal("login", _normal(stranger.login.name))]
    trail.record(tx, tenant_id, "access.unexplained", target_id, facts, login)


def _normal(name: str) -> str:
    """An entry takes NFC alone, and nobody hides from the log by an odd spelling."""
    odd = not unicodedata.is_normalized("NFC", name)
    return name.encode("unicode_escape").decode() if odd else name


def _put_waiting_leases(tx: Tx, target_id: str, queue: Queue) -> None:
    """Logins that a finding kept waiting are made now, and not only by the next sweep."""
    waiting = sa.select(Lease.id).where(
        Lease.state == "pending",
        Lease.stuck_since.is_not(None),
        sa.or_(Lease.database_id == target_id, Lease.server_id == target_id),
    )
    for lease_id in tx.session.scalars(waiting):
        queue.put(tx, "issue_lease", lease_id, queue="access")


def _note_failure(database: Database, target_id: str, error: Exception) -> None:
    with database.begin(_WORKER) as tx:
        row = tx.session.get_one(Preflight, target_id, with_for_update=True)
        retries.note_failure(row, tx.at, describe(error))
