"""A run's login on its server: intent, effect, look, confirm, as `grants.lease_steps` has it.

The role is made only while the consent is live, looked at while it stands, and is `revoked` only
when a fresh look found neither it nor a session of it (G3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from broker import quarantine, retries, tenants
from broker.backups import rules, runs
from broker.backups.model import BackupRun
from broker.backups.states import RUN_ISSUED, RUN_REVOKED
from broker.bell import ring
from broker.consents import backup_plans, ledger
from broker.db import Busy, Database
from broker.engines import Target
from broker.engines.postgres import backup_roles, revoking
from broker.engines.postgres.backup_roles import BackupRole
from broker.errors import BrokerError
from broker.faults import crash_point
from broker.grants import preflights
from broker.grants.targets import LoginOpener, live_target
from broker.ids import TenantId
from broker.jobs import Queue
from broker.labels import Label
from broker.quarantine import MarkKeeper
from broker.retries import FAILURES, describe
from broker.secret import Secret
from broker.states import advance
from broker.tx import Tx, system

_WORKER = system("worker")


class KeyPort(LoginOpener, MarkKeeper, Protocol):
    """What runs need of the key port: logins opened, and the key of labels' MACs."""

    def label_key(self) -> Secret[bytes]: ...


@dataclass(frozen=True, slots=True)
class _Work:
    """A run as read in a transaction that is over."""

    run_id: str
    role: str
    verifier: str
    ends_at: datetime
    connections: int
    host: str
    target: Target


def _once(database: Database, run_id: str, state: str, act: Callable[[], None]) -> None:
    """One worker at a time, and only in that state; a failure is noted, and met by the sweep."""
    try:
        with database.exclusive(f"lease {run_id}"):
            with database.begin(_WORKER) as tx:
                if runs.get(tx, run_id).state != state:
                    return
            try:
                act()
            except FAILURES as error:
                with database.begin(_WORKER) as tx:
                    retries.note_failure(runs.get(tx, run_id), tx.at, describe(error))
                    ring(tx, run_id)
    except Busy:
        return


def issue(database: Database, port: KeyPort, run_id: str, queue: Queue) -> None:
    """Make the role of a pending run."""

    def make() -> None:
        work = _read(database, port, run_id, queue, making=True)
        if work is None:
            return
        label = Label("lease", work.run_id, work.ends_at, work.role).text(port.label_key())
        role = BackupRole(work.role, work.verifier, work.ends_at, label, work.connections)
        backup_roles.issue(work.target, role)
        crash_point("backup-role-made")
        with database.begin(_WORKER) as tx:
            row = runs.get(tx, run_id)
            if row.state == "pending" and not _end_if_baseless(tx, row, queue):
                advance(tx, row, RUN_ISSUED, values={"issued_at": tx.at})
                retries.note_success(row)
                retries.hint(row, tx.at)  # its sessions are looked at from then on
            ring(tx, run_id)

    _once(database, run_id, "pending", make)


def _read(
    database: Database, port: KeyPort, run_id: str, queue: Queue, *, making: bool = False
) -> _Work | None:
    """None when it is not to be made any more. Raises what keeps it from being made now."""
    with database.begin(_WORKER) as tx:
        row = runs.get(tx, run_id)
        plan = backup_plans.get(tx, row.backup_id)
        if making and _end_if_baseless(tx, row, queue):
            return None
        refusal = _find_refusal(tx, port, plan.database_id) if making else None
        if refusal is not None:
            raise refusal
        target = live_target(port, tenants.get_database(tx, plan.database_id))
        return _Work(
            *(row.id, row.role_name, row.verifier or "", row.ends_at, plan.connections, plan.host),
            target=target,
        )


def _end_if_baseless(tx: Tx, row: BackupRun, queue: Queue) -> bool:
    """Whoever withdraws now waits for us, or we see that it was withdrawn."""
    ledger.hold(tx, TenantId(row.tenant_id))
    try:
        runs.check_allowed(tx, backup_plans.get(tx, row.backup_id))
    except BrokerError:
        return runs.end(tx, row, runs.UNCONSENTED, queue)
    return tx.at >= row.ends_at and runs.end(tx, row, runs.OVER, queue)


def _find_refusal(tx: Tx, port: KeyPort, database_id: str) -> BrokerError | None:
    return quarantine.find_refusal(tx, port) or preflights.find_refusal(tx, database_id)


def watch(database: Database, port: KeyPort, run_id: str, queue: Queue) -> None:
    """Look at the sessions of an issued run: one that is not what was declared ends it."""

    def look() -> None:
        work = _read(database, port, run_id, queue)
        assert work is not None  # noqa: S101  # for the type checker: nothing is made
        misuse = rules.find_misuse(work.host, backup_roles.list_sessions(work.target, work.role))
        if not misuse:
            return
        with database.begin(_WORKER) as tx:
            row = runs.get(tx, run_id, lock=True)
            runs.note_unusual(tx, backup_plans.get(tx, row.backup_id), misuse, row)
            runs.end(tx, row, rules.UNUSUAL[misuse[0]], queue)

    _once(database, run_id, "issued", look)


def revoke(database: Database, port: KeyPort, run_id: str, queue: Queue) -> None:
    """End the role, whatever its holder does against it, and confirm by a fresh look."""

    def take() -> None:
        work = _read(database, port, run_id, queue)
        assert work is not None  # noqa: S101  # for the type checker: nothing is made
        ended = revoking.revoke(work.target, work.role)
        crash_point("backup-role-gone")
        instants = {
            "login_refused_at": ended.login_refused_at,
            "last_session_dead_at": ended.last_session_dead_at,
            "role_gone_at": ended.role_gone_at,
        }
        with database.begin(_WORKER) as tx:
            row = runs.get(tx, run_id)
            facts = {name: at.isoformat() for name, at in instants.items()}
            advance(tx, row, RUN_REVOKED, values={**instants, "verifier": None}, facts=facts)
            retries.note_success(row)
            ring(tx, run_id)

    _once(database, run_id, "revoking", take)
