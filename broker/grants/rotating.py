"""The password of our own login on a server, changed on schedule and on demand.

    one password ──next one sealed──▶ two ──ALTER ROLE, logged in with the next──▶ one

What must stay true: both are sealed before the server is asked for anything, and the old one is
forgotten only after a session was opened with the next; so a crash anywhere leaves one that works,
and every session tries both meanwhile. Nobody learns the new password: it is made here, and sealed
to the key port's public key as a client seals a first one.

A login that is refused, or lost what it rests on, is *unmanageable*: told to both sides at once,
and nothing can be made there. A person gives its new password, which is tried before it is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

import sqlalchemy as sa
from psycopg import sql

from broker import people, trail
from broker.db import Busy, Database
from broker.engines import ServerUnavailable, Target
from broker.engines.postgres.looks import session
from broker.engines.postgres.scram import make_verifier, new_password
from broker.faults import crash_point
from broker.grants import contacts
from broker.grants.contacts import Registered
from broker.grants.targets import LoginOpener, live_target, server_target
from broker.ids import TenantId
from broker.jobs import Queue
from broker.keys.intake import login_context, seal_login
from broker.logs import get_log
from broker.retries import FAILURES, describe
from broker.secret import Secret
from broker.tenants import TenantDatabase, TestServer
from broker.tx import Tx, system

_ACTOR = system("worker")
_log = get_log(__name__)


class KeyPort(LoginOpener, Protocol):
    """What rotation needs of the key port."""

    def intake_public(self) -> bytes:
        """The public key to which logins are sealed."""


@dataclass(frozen=True, slots=True)
class _Work:
    """`old` asks with the password that is kept, `next` with the one that may be there already."""

    ids: tuple[str, ...]
    old: Target
    next: Target
    password: Secret[str]


def rotate(database: Database, port: KeyPort, registered_id: str) -> None:
    """Change the password, or finish a change that was cut short; a failure is met by the sweep."""
    try:
        with database.exclusive(f"login {registered_id}"):
            work = _begin(database, port, registered_id)
            crash_point("next-password-sealed")
            try:
                _change(work)
            except FAILURES as error:
                _log.warning("login_not_rotated", id=registered_id, reason=describe(error))
                return
            crash_point("password-changed")
            _confirm(database, work)
    except Busy:
        return


def _begin(database: Database, port: KeyPort, registered_id: str) -> _Work:
    """Seal the next password into every row that has this login, unless one is sealed already."""
    with database.begin(_ACTOR) as tx:
        row = contacts.get_registered(tx, registered_id, lock=True)
        if row.next_sealed_password is None:
            password = new_password()
            for alike in _list_alike(tx, row):
                alike.next_sealed_password = seal_login(
                    port.intake_public(), password, _context(alike)
                )
        assert row.next_sealed_password is not None  # noqa: S101  # for the type checker
        password = port.open_intake(row.next_sealed_password, _context(row))
        old = replace(_target(port, row), next_password=None)
        ids = tuple(
            alike.id
            for alike in _list_alike(tx, row)
            if alike.next_sealed_password is not None
            and port.open_intake(alike.next_sealed_password, _context(alike)) == password
        )
    return _Work(ids, old, replace(old, password=password), password)


def _change(work: _Work) -> None:
    """A person may have set it on the server already; then a look is all that is left."""
    try:
        with session(work.next):
            return
    except ServerUnavailable:
        pass  # not there yet, or the server does not answer: then the next step says so
    with session(work.old) as connection:
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(work.old.user), sql.Literal(make_verifier(work.password))
            )
        )
    crash_point("password-altered")
    with session(work.next):
        return


def _confirm(database: Database, work: _Work) -> None:
    with database.begin(_ACTOR) as tx:
        for identity in work.ids:
            row = contacts.get_registered(tx, identity, lock=True)
            if row.next_sealed_password is None:
                continue
            row.sealed_password, row.next_sealed_password = row.next_sealed_password, None
            row.rotated_at = tx.at
            owner = TenantId(row.tenant_id) if isinstance(row, TenantDatabase) else None
            trail.record(tx, owner, "login.rotated", row.id)


def rotate_by_click(tx: Tx, registered_id: str, queue: Queue) -> Registered:
    """Raises Denied, NotFound."""
    people.check(tx, "login:rotate")
    row = contacts.get_registered(tx, registered_id)
    queue.put(tx, "rotate_login", row.id, queue="access")
    return row


def replace_password(tx: Tx, registered_id: str, sealed: bytes, queue: Queue) -> Registered:
    """A person gives the password that the DBA has set; the one that is kept stays until it works.

    Raises Denied, NotFound.
    """
    people.check(tx, "login:rotate")
    row = contacts.get_registered(tx, registered_id, lock=True)
    for alike in _list_alike(tx, row):
        if type(alike) is type(row):  # the seal is bound to what it was registered for
            alike.next_sealed_password = sealed
    owner = TenantId(row.tenant_id) if isinstance(row, TenantDatabase) else None
    trail.record(tx, owner, "login.replaced", row.id)
    queue.put(tx, "rotate_login", row.id, queue="access")
    return row


def put_due(tx: Tx, every_s: int, queue: Queue, limit: int) -> int:
    """Enqueue the change of logins that are due, and of those where one was cut short."""
    due: list[str] = []
    for model in (TenantDatabase, TestServer):
        since = sa.func.coalesce(model.rotated_at, model.registered_at)
        old = since <= tx.at - timedelta(seconds=every_s)
        query = sa.select(model.id).where(
            model.removed_at.is_(None), sa.or_(old, model.next_sealed_password.is_not(None))
        )
        if model is TestServer:  # a dedicated one is made with it, and lives as long as its copy
            query = query.where(TestServer.kind == "shared")
        due += tx.session.scalars(query.limit(limit))
    for identity in due:
        queue.put(tx, "rotate_login", identity, queue="access")
    return len(due)


def _list_alike(tx: Tx, row: Registered) -> Sequence[Registered]:
    """All rows with this login on this server: one password, whatever they were registered for."""
    found: list[Registered] = []
    for model in (TenantDatabase, TestServer):
        query = sa.select(model).where(
            model.host == row.host,
            model.port == row.port,
            model.login == row.login,
            model.removed_at.is_(None),
        )
        found += tx.session.scalars(query.order_by(model.id).with_for_update())
    return found


def _context(row: Registered) -> bytes:
    kind = "database" if isinstance(row, TenantDatabase) else "server"
    return login_context(kind, row.host, row.port, row.login)


def _target(port: LoginOpener, row: Registered) -> Target:
    return live_target(port, row) if isinstance(row, TenantDatabase) else server_target(port, row)
