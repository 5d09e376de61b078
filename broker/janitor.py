"""The janitor: what stands on servers, in the store and in the keyring that no live row explains.

It asks the places themselves, by listing: what a crash left, what a restored backup of either side
brought back or forgot, what came back after it was destroyed. What carries our label and has no
live row is ended by the same steps as ever; what carries none but lies in our places is told once
and never touched.

What must stay true: a place is listed first, and the rows are read in a transaction that begins
after; a row is committed before anything of its own is made (habit 3), so what is new is never
taken for an orphan. Before it acts, the janitor holds the lock that the thing's maker holds, reads
the row again, and then looks again: what its own job has just ended is no orphan either.

A row that is absent is no reason to wait where the record is whole: a login that no row explains
has no grant, and nobody who could be named as having approved it (G3); a copy can be made again.
In quarantine, after a restore of the control database, such a thing is written down and held until
an operator has said that the record may be acted on (`broker.quarantine`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from broker import finds, quarantine, sweeps
from broker.db import Busy
from broker.engines import ServerUnavailable, Target
from broker.engines.postgres.copying import CopyFailed
from broker.engines.postgres.copying.sandbox import drop_sandbox, list_sandboxes
from broker.engines.postgres.dedicated import Seen, volume_place
from broker.engines.postgres.dedicated.host import SandboxHost
from broker.engines.postgres.looks import AccountTooWeak, list_marked_roles, list_reachable
from broker.engines.postgres.revoking import revoke
from broker.engines.postgres.scopes import drop_scope, list_scope_schemas, owner_of
from broker.errors import NotFound, Unavailable, VerificationFailed
from broker.explained import (
    ABSENT,
    Login,
    ReadRows,
    Row,
    Server,
    list_registered,
    read_leases,
    read_scopes,
    read_snapshots,
)
from broker.finds import Found
from broker.grants import contacts
from broker.ids import TenantId, is_id
from broker.labels import read_label
from broker.logs import get_log
from broker.retries import FAILURES, describe
from broker.secret import Secret
from broker.signs import Signs, read_signs, sandbox_name
from broker.snapshots.artifacts import LABEL, delete_all
from broker.snapshots.dedicated import DECOY, revive
from broker.snapshots.ports import Ports
from broker.snapshots.remnants import condemn_remnant
from broker.tx import system

_ACTOR = system("janitor")
_SIDE_BY_SIDE = 4  # places: one that hangs keeps few others
_OUR_OBJECTS = "decoys/"
_MAX_LABEL_BYTES = 1024
_log = get_log(__name__)
R = TypeVar("R")


def sweep_orphans(ports: Ports, fence: int) -> int:
    """One round through all places; returns how many things were ended. Raises Overtaken.

    A round that takes longer than the interval is not joined by another.
    """
    try:
        with ports.database.exclusive("janitor"):
            with ports.database.begin(_ACTOR) as tx:
                sweeps.check_fence(tx, fence)
            ended = look_everywhere(ports)
            with ports.database.begin(_ACTOR) as tx:
                sweeps.note_run(tx, "orphans", fence, ended)
            return ended
    except Busy:
        return 0


def look_everywhere(ports: Ports) -> int:
    """The keys first: what is sealed is then unreadable, whatever fails later."""
    with ports.database.begin(_ACTOR) as tx:
        servers = list_registered(tx, ports.keys)
    ended = _try("keyring", partial(_look_at_keys, ports))
    ended += _try("volume keys", partial(_look_at_keys, ports, "volume/", "volume keys"))
    places: list[tuple[str, Callable[[], int]]] = [
        ("store", partial(_look_at_store, ports)),
        *([("test host", partial(_look_at_host, ports, ports.host))] if ports.host else []),
        *((server.place, partial(_look_at_server, ports, server)) for server in servers),
    ]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return ended + sum(pool.map(lambda place: _try(*place), places))


def _try(place: str, look: Callable[[], int]) -> int:
    """A place that can't be looked at is told, and keeps no other."""
    try:
        return look()
    except FAILURES as error:
        _log.warning("place_not_looked_at", place=place, reason=describe(error))
        return 0


# Any place.


@dataclass(frozen=True, slots=True)
class _Thing:
    """Something with our label, in a place: how it is explained, seen and ended."""

    found: Found
    key: str  # by which `read` knows it
    read: ReadRows
    lock: str  # which its maker holds
    is_there: Callable[[], bool]  # a fresh listing
    end: Callable[[], object]
    ends_at: datetime | None = None  # by its own label, where that is known


def _end_all(ports: Ports, things: Iterable[_Thing]) -> int:
    return sum(_end(ports, thing) for thing in things)


def _end(ports: Ports, thing: _Thing) -> int:
    """Intent, effect, look, confirm. What fails is noted, and met again by the next round."""
    found = thing.found
    try:
        with ports.database.exclusive(thing.lock):
            if not _list_unexplained(ports, thing.read, [thing.key]) or not thing.is_there():
                return 0
            with ports.database.begin(_ACTOR) as tx:
                finds.open_find(tx, found)
                if (held := quarantine.find_open(tx)) is not None:
                    finds.note_stuck(tx, found, _say_held(held.id, thing.ends_at))
                    return 0
                if found.facts.get("row") == "destroyed" and found.noun == "remnant":
                    condemn_remnant(tx, found.subject, [found.kind], "janitor", ports.queue)
            thing.end()
            if thing.is_there():
                raise Unavailable(f"{found.name} is still there after it was ended")
            with ports.database.begin(_ACTOR) as tx:
                return int(finds.close_find(tx, found))
    except Busy:
        return 0  # its maker is at it, or another janitor
    except FAILURES as error:
        reason = describe(error)
        _log.warning("orphan_not_ended", kind=found.kind, id=found.subject, reason=reason)
        with ports.database.begin(_ACTOR) as tx:
            finds.note_stuck(tx, found, reason)
        return 0


def _say_held(quarantine_id: str, ends_at: datetime | None) -> str:
    own = f"; it ends by itself at {ends_at:%Y-%m-%d %H:%M:%S} UTC" if ends_at else ""
    return f"{quarantine_id} holds it until an operator lifts it{own}"


def _list_unexplained(ports: Ports, read: ReadRows, keys: Collection[str]) -> dict[str, Row]:
    """Those without a live row, in order, each with the row that it has, or ABSENT."""
    with ports.database.begin(_ACTOR) as tx:
        rows = read(tx, keys)
    return {k: rows.get(k, ABSENT) for k in sorted(keys) if not rows.get(k, ABSENT).explains}


def _note_listing(
    ports: Ports,
    place: str,
    listed_at: datetime,
    ours: Collection[tuple[str, str]],
    strangers: Sequence[Found],
) -> None:
    """Tell what is new and not ours, and close what is no longer there; both as (kind, name)."""
    if strangers:
        _log.warning("strangers_seen", place=place, count=len(strangers))
    seen = {*ours, *((found.kind, found.name) for found in strangers)}
    with ports.database.begin(_ACTOR) as tx:
        finds.tell_strangers(tx, strangers)
        finds.close_vanished(tx, place, seen, listed_at)


def _stranger(place: str, kind: str, name: str, on: str, tenant_id: TenantId | None) -> Found:
    return Found("stranger", place, kind, name, on, tenant_id, {"on": on})


def _remnant(place: str, kind: str, name: str, snapshot_id: str, row: Row, on: str) -> Found:
    facts = {"on": on, "row": row.state}
    return Found("remnant", place, kind, name, snapshot_id, row.tenant_id, facts)


# The keyring and the store.


def _look_at_keys(ports: Ports, prefix: str = "snapshot/", place: str = "keyring") -> int:
    listed_at = ports.database.now(_ACTOR)
    ids = {name.removeprefix(prefix) for name in ports.keys.list_names(prefix)}
    odd = sorted(identity for identity in ids if not is_id(identity, "snp"))
    strangers = [_stranger(place, "key", prefix + i, "keyring", None) for i in odd]
    ours = {("key", prefix + identity) for identity in ids}
    _note_listing(ports, place, listed_at, ours, strangers)

    def thing(snapshot_id: str, row: Row) -> _Thing:
        name = prefix + snapshot_id
        return _Thing(
            _remnant(place, "key", name, snapshot_id, row, "keyring"),
            snapshot_id,
            read_snapshots,
            f"snapshot {snapshot_id}",
            is_there=lambda: name in ports.keys.list_names(prefix),
            end=lambda: ports.keys.erase(name),
        )

    found = _list_unexplained(ports, read_snapshots, ids - set(odd))
    return _end_all(ports, (thing(*item) for item in found.items()))


def _look_at_store(ports: Ports) -> int:
    """Versions and unfinished uploads count; what is under no snapshot's prefix is a stranger."""
    listed_at = ports.database.now(_ACTOR)
    ids: set[str] = set()
    odd: set[str] = set()
    for stored in ports.looked_at.list_all(""):
        top, _, rest = stored.name.partition("/")
        identity, slash, _ = rest.partition("/")
        if top == "snapshots" and slash and is_id(identity, "snp"):
            ids.add(identity)
        elif not stored.name.startswith(_OUR_OBJECTS):
            odd.add(stored.name)
    unexplained = _list_unexplained(ports, read_snapshots, ids)
    foreign = {i for i, row in unexplained.items() if row is ABSENT and _is_foreign(ports, i)}
    strangers = [
        *(_stranger("store", "object", name, "store", None) for name in sorted(odd)),
        *(_stranger("store", "prefix", _prefix(i), "store", None) for i in sorted(foreign)),
    ]
    ours = {("artifact", _prefix(identity)) for identity in ids - foreign}
    _note_listing(ports, "store", listed_at, ours, strangers)

    def thing(snapshot_id: str, row: Row) -> _Thing:
        prefix = _prefix(snapshot_id)
        return _Thing(
            _remnant("store", "artifact", prefix, snapshot_id, row, "store"),
            snapshot_id,
            read_snapshots,
            f"snapshot {snapshot_id}",
            is_there=lambda: any(ports.looked_at.list_all(prefix)),
            end=lambda: delete_all(ports.store, prefix),
        )

    return _end_all(ports, (thing(i, row) for i, row in unexplained.items() if i not in foreign))


def _prefix(snapshot_id: str) -> str:
    return f"snapshots/{snapshot_id}/"


def _is_foreign(ports: Ports, snapshot_id: str) -> bool:
    """Whether a prefix bears a label that is not ours: another broker's, in the same bucket.

    Without a label it is ours: only we make such names, and a deletion that was cut short may
    have taken the label first.
    """
    prefix = _prefix(snapshot_id)
    try:
        with ports.store.open(prefix + LABEL) as source:
            text = source.read(_MAX_LABEL_BYTES).decode("ascii", errors="replace")
        read_label(text, prefix, ports.keys.label_key())
    except NotFound:
        return False
    except VerificationFailed:
        return True
    else:
        return False


# The host of dedicated servers, where this worker is on it.


def _look_at_host(ports: Ports, host: SandboxHost) -> int:
    """Servers of copies that no live row explains end; those of ready ones that a restart of the
    host ended are started again.
    """
    listed_at, key = ports.database.now(_ACTOR), ports.keys.label_key()
    ids: set[str] = set()
    odd: set[str] = set()
    for seen in host.look():
        if (identity := _find_owner(seen, key)) is not None:
            ids.add(identity)
        elif seen.name != DECOY:
            odd.add(seen.name)
    strangers = [_stranger("test host", "server", name, "host", None) for name in sorted(odd)]
    ours = {("server", sandbox_name(identity)) for identity in ids}
    _note_listing(ports, "test host", listed_at, ours, strangers)

    def thing(snapshot_id: str, row: Row) -> _Thing:
        name = sandbox_name(snapshot_id)
        return _Thing(
            _remnant("test host", "server", name, snapshot_id, row, "host"),
            snapshot_id,
            read_snapshots,
            f"snapshot {snapshot_id}",
            is_there=lambda: host.see(name) != Seen.nothing(name),
            end=lambda: host.destroy(name),
        )

    found = _list_unexplained(ports, read_snapshots, ids)
    ended = _end_all(ports, (thing(*item) for item in found.items()))
    revive(ports)
    return ended


def _find_owner(seen: Seen, key: Secret[bytes]) -> str | None:
    """By its label; one that was cut short in its making or its removal has none, and its name."""
    with contextlib.suppress(VerificationFailed):
        return read_label(seen.label or "", volume_place(seen.name), key).id
    identity = f"snp_{seen.name.removeprefix('sab_')}"
    return identity if seen.label is None and is_id(identity, "snp") else None


# Servers.


def _look_at_server(ports: Ports, server: Server) -> int:
    """Databases are listed before roles: whose owner came first is then never without one."""
    key = ports.keys.label_key()
    for login in server.logins:
        _try(login.id, partial(_meet, ports, login))
    listed_at = ports.database.now(_ACTOR)
    databases = _by_any(server.of_copies, list_sandboxes) if server.of_copies else []
    roles = _by_any(server.logins, list_marked_roles)
    signs = read_signs(databases, roles, key)
    _note_listing(ports, server.place, listed_at, signs.ours, _list_strangers(server, signs))
    # Each kind's rows are read when the one before is done: a scope's last lease goes first.
    ended = _end_all(ports, _list_leases(ports, server, signs))
    ended += _end_all(ports, _list_scopes(ports, server, signs.scopes))
    ended += _end_all(ports, _list_copies(ports, server, signs.sandboxes))
    for login in _list_unswept(ports, server):
        _try(login.id, partial(contacts.settle, ports.database, login.target, login.id, key))
    return ended


def _meet(ports: Ports, login: Login) -> int:
    contacts.meet(ports.database, login.target, login.id, ports.keys.label_key())
    return 0


def _list_unswept(ports: Ports, server: Server) -> list[Login]:
    """Nothing is made there before this round has ended what came back."""
    with ports.database.begin(_ACTOR) as tx:
        rows = [(login, contacts.get_registered(tx, login.id)) for login in server.logins]
    return [login for login, row in rows if row.cluster is not None and row.timeline is None]


def _list_strangers(server: Server, signs: Signs) -> list[Found]:
    """In the tenant's log where the server is one tenant's alone, else in the vendor's (G12)."""
    owners = {login.tenant_id for login in server.logins}
    owner = owners.pop() if len(owners) == 1 else None
    return [
        _stranger(server.place, kind, name, server.logins[0].id, owner)
        for kind, name in sorted(signs.strangers)
    ]


def _by_any(logins: Sequence[Login], act: Callable[[Target], R]) -> R:
    """The first login that can: on PostgreSQL 16 and newer only who made a role may end it."""
    *others, last = logins
    for login in others:
        try:
            return act(login.target)
        except (AccountTooWeak, ServerUnavailable, CopyFailed) as error:
            _log.info("login_could_not", id=login.id, reason=error.message)
    return act(last.target)


def _list_leases(ports: Ports, server: Server, signs: Signs) -> Iterator[_Thing]:
    leases = signs.leases
    for role, row in _list_unexplained(ports, read_leases, leases).items():
        tenant_id, on = row.tenant_id, row.on
        if on is None:
            tenant_id, on = _find_purpose(ports, server, role)
        facts = {"on": on, "role": role, "row": row.state}
        logins = server.list_logins(on)
        yield _Thing(
            Found("orphan", server.place, "lease", role, leases[role], tenant_id, facts),
            role,
            read_leases,
            f"lease {leases[role]}",
            is_there=partial(_has_roles, logins, {role}),
            end=partial(_by_any, logins, partial(revoke, role=role)),
            ends_at=signs.ends.get(role),
        )


def _find_purpose(ports: Ports, server: Server, role: str) -> tuple[TenantId | None, str]:
    """Whose a login without a row is: a lease may connect to one database, by its scope.

    Where that is not clear nobody is named but the vendor (G12).
    """
    reachable = _by_any(server.logins, partial(list_reachable, role=role))
    homes = [login for login in server.of_databases if login.target.dbname in reachable]
    copies = [f"snp_{name.removeprefix('sab_')}" for name in reachable if name.startswith("sab_")]
    with ports.database.begin(_ACTOR) as tx:
        rows = read_snapshots(tx, copies)
    owners = [
        *((login.tenant_id, login.id) for login in homes),
        *((row.tenant_id, server.of_copies[0].id) for row in rows.values() if server.of_copies),
    ]
    is_clear = len({tenant_id for tenant_id, _ in owners}) == 1
    return owners[0] if is_clear else (None, server.logins[0].id)


def _list_scopes(ports: Ports, server: Server, scopes: Collection[str]) -> Iterator[_Thing]:
    for name, row in _list_unexplained(ports, read_scopes, scopes).items():
        tenant_id, on = row.tenant_id, row.on
        homes = [login for login in server.of_databases if _holds_scope(login, name)]
        if on is None and len(homes) == 1:
            tenant_id, on = homes[0].tenant_id, homes[0].id
        on = on or server.logins[0].id
        logins = homes or server.list_logins(on)
        facts = {"on": on, "scope": name, "row": row.state}
        yield _Thing(
            Found("orphan", server.place, "scope", name, on, tenant_id, facts),
            name,
            read_scopes,
            f"scope {name}",
            is_there=partial(_has_roles, logins, {name, owner_of(name)}),
            end=partial(_by_any, logins, partial(drop_scope, name=name)),
        )


def _holds_scope(login: Login, name: str) -> bool:
    try:
        return name in list_scope_schemas(login.target)
    except FAILURES as error:
        _log.warning("database_not_looked_at", id=login.id, reason=describe(error))
        return False


def _list_copies(
    ports: Ports, server: Server, sandboxes: Mapping[str, Collection[str]]
) -> Iterator[_Thing]:
    for snapshot_id, row in _list_unexplained(ports, read_snapshots, sandboxes).items():
        name, roles = sandbox_name(snapshot_id), sorted(sandboxes[snapshot_id])
        logins = server.of_copies or server.logins
        yield _Thing(
            _remnant(server.place, "sandbox", name, snapshot_id, row, logins[0].id),
            snapshot_id,
            read_snapshots,
            f"snapshot {snapshot_id}",
            is_there=partial(_has_sandbox, logins, name, set(roles)),
            end=partial(_by_any, logins, partial(drop_sandbox, name=name, roles=roles)),
        )


def _has_roles(logins: Sequence[Login], names: Collection[str]) -> bool:
    return any(role.name in names for role in _by_any(logins, list_marked_roles))


def _has_sandbox(logins: Sequence[Login], name: str, roles: Collection[str]) -> bool:
    databases = _by_any(logins, list_sandboxes)
    return any(found.name == name for found in databases) or _has_roles(logins, roles)
