"""`broker reap`: ends what is past its end, by its own label, while the broker is down (G14).

It stands beside a test server, a tenant's server or a store, with a login there and the key of the
labels; it knows no control database. It is a dead man's hand: where all is well the broker was
first, and a round finds nothing to do.

What must stay true: nothing is ended before the end that its label gives, by the clock of the place
where it stands; and what carries no true label of ours (right MAC, for this very place) is never
touched, only counted. A round that was cut short is finished by the next: so a prefix loses its
label last.

The login on a server is the broker's own there, or one with CREATEROLE that is a member of it: on
PostgreSQL 16 and newer nobody else can end the roles that the broker made.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import click
import psycopg

from broker.addresses import parse_address
from broker.engines import Target
from broker.engines.postgres.copying.sandbox import drop_sandbox, list_sandboxes
from broker.engines.postgres.dedicated import volume_place
from broker.engines.postgres.dedicated.host import SandboxHost, make_host
from broker.engines.postgres.looks import list_marked_roles, session
from broker.engines.postgres.revoking import revoke
from broker.engines.postgres.scopes import ScopeInUse, drop_scope, label_place, owner_of
from broker.engines.postgres.standbys import end_open_sessions
from broker.errors import BrokerError, Invalid, Unavailable, VerificationFailed
from broker.labels import OBJECT, Label, read_label
from broker.secret import Secret
from broker.stores import Store, StoreUnavailable
from broker.stores.folder import FolderStore

_KEY_BYTES = 32
_MAX_LABEL_BYTES = 1024
_MAX_SKEW = timedelta(minutes=5)
_WHOLE_SECOND = timedelta(seconds=1)  # a label's end is cut to whole seconds
_FAILURES = (BrokerError, psycopg.Error, OSError)
_EXIT_UNAVAILABLE = 8


@dataclass(slots=True)
class Round:
    """What one round did. `not_yet` and `unknown` count what was left alone, and why."""

    ended: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    not_yet: int = 0  # a true label, whose end is still to come or which is still in use
    unknown: int = 0  # no true label of ours

    def try_to_end(self, what: str, end: Callable[[], object]) -> None:
        """One failure never keeps the rest; the next round tries again."""
        try:
            end()
        except ScopeInUse:
            self.not_yet += 1
        except _FAILURES as error:
            self.failed[what] = _describe(error)
        else:
            self.ended.append(what)

    def find_due(
        self, found: Iterable[tuple[str, str, str | None]], now: datetime, key: Secret[bytes]
    ) -> dict[str, Label]:
        """Those of (name, place of its label, label's text) that are past their end, by name."""
        due: dict[str, Label] = {}
        for name, place, text in found:
            try:
                label = read_label(text or "", place, key)
            except VerificationFailed:
                self.unknown += 1
                continue
            if label.end + _WHOLE_SECOND <= now:
                due[name] = label
            else:
                self.not_yet += 1
        return due


def reap_server(target: Target, key: Secret[bytes], now: datetime) -> Round:
    """End what is past its end on one server: logins, then scopes, then sandboxes.

    Raises ServerUnavailable, CopyFailed when the server can't be looked at.
    """
    done = Round()
    roles = [
        (role.name, label_place(role.name), role.comment) for role in list_marked_roles(target)
    ]
    databases = [(found.name, found.name, found.label_text) for found in list_sandboxes(target)]
    due_roles = done.find_due(roles, now, key)
    due_databases = done.find_due(databases, now, key)
    for name in _of_kind(due_roles, "lease"):
        done.try_to_end(f"role {name}", partial(revoke, target, name))
    for name in sorted({label.place for label in _of_kind(due_roles, "scope").values()}):
        done.try_to_end(f"scope {name}", partial(_drop_scope, target, name))
    _end_sandboxes(done, target, _of_kind(due_roles, "sandbox"), _of_kind(due_databases, "sandbox"))
    return done


def reap_standby(there: Target, key: Secret[bytes], now: datetime) -> Round:
    """End the open sessions of logins past their end on one standby, also while its primary is
    away; the logins are the primary's to end. Raises ServerUnavailable.
    """
    done = Round()
    found = {role.name: role for role in list_marked_roles(there)}
    labelled = [(role.name, label_place(role.name), role.comment) for role in found.values()]
    for name in _of_kind(done.find_due(labelled, now, key), "lease"):
        try:
            count = end_open_sessions(there, found[name])
        except _FAILURES as error:
            done.failed[f"sessions of {name} on {there.host}:{there.port}"] = _describe(error)
        else:
            done.ended += [f"{count} sessions of {name} on {there.host}:{there.port}"] * bool(count)
    return done


def reap_all(target: Target, key: Secret[bytes]) -> Round:
    """A server and its standbys, each by its own clock; one that is away keeps no other."""
    whole = Round()
    rounds: list[tuple[str, Callable[[], Round]]] = [
        ("round", lambda: reap_server(target, key, read_server_clock(target)))
    ]
    for host, port in target.standbys:
        there = replace(target, host=host, port=port, standbys=())
        rounds.append((f"round on {host}:{port}", partial(_reap_there, there, key)))
    for what, reap_one in rounds:
        try:
            done = reap_one()
        except _FAILURES as error:
            whole.failed[what] = _describe(error)
            continue
        whole.ended += done.ended
        whole.failed |= done.failed
        if what == "round":  # the same roles stand on every standby
            whole.not_yet, whole.unknown = done.not_yet, done.unknown
    return whole


def _reap_there(there: Target, key: Secret[bytes]) -> Round:
    return reap_standby(there, key, read_server_clock(there))


def _of_kind(due: Mapping[str, Label], kind: str) -> dict[str, Label]:
    return {name: label for name, label in due.items() if label.kind == kind}


def _drop_scope(target: Target, name: str) -> None:
    """In the database where its objects are: one server may hold several of a tenant's."""
    with session(target) as connection:
        rows = connection.execute(
            "SELECT DISTINCT d.datname FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid"
            " WHERE s.refclassid = 'pg_authid'::regclass"
            " AND s.refobjid IN (SELECT oid FROM pg_roles WHERE rolname = ANY(%s))",
            [[name, owner_of(name)]],
        ).fetchall()
    for (dbname,) in rows or [(target.dbname,)]:
        drop_scope(replace(target, dbname=dbname), name)


def _end_sandboxes(
    done: Round, target: Target, roles: Mapping[str, Label], databases: Mapping[str, Label]
) -> None:
    """Per snapshot, database and roles together.

    A role's label also speaks for the database that bears its snapshot's name: a broker that died
    between making a sandbox and labelling it left a database without a label.
    """
    for identity in sorted({label.id for label in (*roles.values(), *databases.values())}):
        own_roles = [name for name, label in roles.items() if label.id == identity]
        labelled = {name for name, label in databases.items() if label.id == identity}
        for name in sorted({f"sab_{identity[4:]}", *labelled}):
            done.try_to_end(f"sandbox {name}", partial(drop_sandbox, target, name, own_roles))


def reap_store(store: Store, key: Secret[bytes], now: datetime) -> Round:
    """Delete every prefix whose label is past its end. Raises StoreUnavailable."""
    done = Round()
    prefixes = {
        "/".join([*stored.name.split("/")[:2], ""])
        for stored in store.list_all("snapshots/")
        if stored.name.count("/") > 1
    }
    found = [(prefix, prefix, _read_label_object(store, prefix)) for prefix in sorted(prefixes)]
    for prefix in _of_kind(done.find_due(found, now, key), "artifact"):
        done.try_to_end(f"objects {prefix}", partial(_delete, store, prefix))
    return done


def reap_host(host: SandboxHost, key: Secret[bytes], now: datetime) -> Round:
    """End every dedicated server whose label is past its end. Raises HostUnavailable."""
    done = Round()
    found = [(seen.name, volume_place(seen.name), seen.label) for seen in host.look()]
    for name in _of_kind(done.find_due(found, now, key), "sandbox"):
        done.try_to_end(f"server {name}", partial(host.destroy, name))
    return done


def _read_label_object(store: Store, prefix: str) -> str | None:
    try:
        with store.open(prefix + OBJECT) as source:
            return source.read(_MAX_LABEL_BYTES).decode("ascii", errors="replace")
    except BrokerError:
        return None  # no label that can be read: not ours to touch


def _delete(store: Store, prefix: str) -> None:
    """The label last, and only when a fresh listing shows nothing else."""
    label = prefix + OBJECT
    for stored in list(store.list_all(prefix)):
        if stored.name != label:
            store.delete(stored)
    left = list(store.list_all(prefix))
    if any(stored.name != label for stored in left):
        raise StoreUnavailable(f"objects came back under {prefix}")
    for stored in left:
        store.delete(stored)


def read_server_clock(target: Target) -> datetime:
    with session(target) as connection:
        row = connection.execute("SELECT pg_catalog.clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101  # a function gives one row
    now: datetime = row[0]
    return now


def check_host_clock(folder: Path, now: datetime) -> None:
    """Raise Unavailable when this host's clock is far from that of the folder's file system.

    They differ on a mounted volume, whose server stamps new files with its own time.
    """
    with tempfile.TemporaryFile(dir=folder) as fresh:
        stamped = datetime.fromtimestamp(os.fstat(fresh.fileno()).st_mtime, UTC)
    check_clock(stamped, now)


def check_clock(stamped: datetime, now: datetime) -> None:
    """Raise Unavailable when the store's time and this host's differ much."""
    if abs(now - stamped) > _MAX_SKEW:
        raise Unavailable(
            f"this host says {now:%Y-%m-%d %H:%M:%S} UTC, the store says "
            f"{stamped:%Y-%m-%d %H:%M:%S}; nothing is ended by a clock that is wrong: set it"
        )


def read_private_file(path: Path) -> bytes:
    """A secret's file. Raises Invalid unless it is this user's alone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise Invalid(f"{path} can't be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise Invalid(f"{path} must be a file of the user that runs this")
        if status.st_mode & 0o077:
            raise Invalid(f"{path} is open to other users; run: chmod 600 {path}")
        return file.read()


def read_label_key(path: Path) -> Secret[bytes]:
    content = read_private_file(path)
    if len(content) != _KEY_BYTES:
        raise Invalid(f"{path} is no key of labels: it is the {_KEY_BYTES} bytes of labels.key")
    return Secret(content)


def _describe(error: Exception) -> str:
    """A server's own message may quote a value: never it."""
    if isinstance(error, BrokerError):
        return error.message
    if isinstance(error, psycopg.Error):
        return f"the server answered SQLSTATE {error.sqlstate or 'none, the connection was lost'}"
    return f"the system answered {type(error).__name__}"


@click.group(help="End what is past its end by its own label, also while the broker is down.")
def reap() -> None:
    """Hold the commands together."""


_FILE = click.Path(path_type=Path, dir_okay=False)
_label_key = click.option(
    "--label-key", type=_FILE, required=True, help="A copy of labels.key, mode 0600."
)
_once = click.option("--once", is_flag=True, help="One round, then exit: 0 if nothing failed.")
_every = click.option("--every", type=click.IntRange(min=1), default=60, show_default=True)


@reap.command("server", help="Beside a test server or a tenant's server.")
@click.option("--host", required=True)
@click.option("--port", type=int, default=5432, show_default=True)
@click.option("--dbname", default="postgres", show_default=True)
@click.option("--user", required=True)
@click.option("--password-file", type=_FILE, required=True, help="One line, mode 0600.")
@click.option("--ca-file", type=_FILE, help="Needed unless the server is on this machine.")
@click.option(
    "--standby",
    "standbys",
    multiple=True,
    metavar="HOST:PORT",
    help="A standby of it: sessions past their end are ended there too, and ends confirmed.",
)
@_label_key
@_once
@_every
def server_command(
    *,
    host: str,
    port: int,
    dbname: str,
    user: str,
    password_file: Path,
    ca_file: Path | None,
    standbys: tuple[str, ...],
    label_key: Path,
    once: bool,
    every: int,
) -> None:
    def act() -> Round:
        password = Secret(read_private_file(password_file).decode().strip())
        target = Target(
            *(host, port, dbname, user, password, str(ca_file) if ca_file else None),
            standbys=tuple(map(parse_address, standbys)),
        )
        return reap_all(target, read_label_key(label_key))

    _repeat(act, None if once else every)


@reap.command("store", help="Beside a store in a folder.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), required=True)
@_label_key
@_once
@_every
def store_command(*, folder: Path, label_key: Path, once: bool, every: int) -> None:
    def act() -> Round:
        key = read_label_key(label_key)
        now = datetime.now(UTC)
        check_host_clock(folder, now)
        return reap_store(FolderStore(folder), key, now)

    _repeat(act, None if once else every)


@reap.command("host", help="On a host of dedicated test servers, as the user that runs them.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), required=True)
@_label_key
@_once
@_every
def host_command(*, folder: Path, label_key: Path, once: bool, every: int) -> None:
    def act() -> Round:
        return reap_host(make_host(folder), read_label_key(label_key), datetime.now(UTC))

    _repeat(act, None if once else every)


def _repeat(act: Callable[[], Round], every_s: int | None) -> None:
    """Rounds until SIGTERM or SIGINT, each told in one line of JSON; a bad round ends only `once`.

    Files are read anew in each round, so that a changed password needs no restart.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    while True:
        try:
            done = asdict(act())
        except _FAILURES as error:
            done = asdict(Round(failed={"round": _describe(error)}))
        click.echo(json.dumps(done))
        if every_s is None:
            raise click.exceptions.Exit(_EXIT_UNAVAILABLE if done["failed"] else 0)
        if ended.wait(every_s):
            return
