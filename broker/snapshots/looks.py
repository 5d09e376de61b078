"""Independent looks: what is still there of a copy, asked of the places themselves.

A look lists; it never asks for a remembered id only. It goes through a connection of its own, and
it first finds a decoy of ours in the same listing: a look that sees nothing at all is blind, and
"can't see" is never "absent" (G8). Whatever fails raises, and the copy stays condemned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from broker import labels
from broker.db import Database
from broker.engines import ServerUnavailable, Target
from broker.engines.postgres import looks as roles
from broker.engines.postgres.copying import sandbox
from broker.engines.postgres.dedicated import volume_place
from broker.faults import crash_point
from broker.keys import KeyErased, KeyState, KeyUnavailable, Sealer
from broker.labels import Label
from broker.retries import FAILURES, describe
from broker.snapshots.dedicated import Dedicated
from broker.snapshots.model import Snapshot
from broker.snapshots.ports import Ports
from broker.stores import Store, StoreUnavailable
from broker.tx import system

_DECOY_ID = "snp_" + "a" * 26  # of no snapshot: 128 random bits never give it
_DECOY_DATABASE = "sab_decoy"
_DECOY_OBJECT = "decoys/look"
_DECOY_KEY = "decoys/look"
_FAR = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Found:
    """The answer of one look at one place."""

    kind: str
    place: str
    method: str
    found: bool


def place_decoys(
    database: Database, keys: Sealer, store: Store, server: Target | Dedicated
) -> None:
    """See that the decoys are there; a look that misses them is refused. Idempotent."""
    key = keys.label_key()
    keys.create(_DECOY_KEY)
    if not any(stored.name == _DECOY_OBJECT for stored in store.list_all("decoys/")):
        with store.create(_DECOY_OBJECT) as sink:
            sink.write(b"a decoy: a look that does not see it is blind\n")
    if isinstance(server, Dedicated):
        server.place_decoy()
    elif not any(found.name == _DECOY_DATABASE for found in sandbox.list_sandboxes(server)):
        end = database.now(system("looks")) + _FAR
        owner = f"{_DECOY_DATABASE}_o"
        sandbox.create_sandbox(
            server,
            sandbox.NewSandbox(
                name=_DECOY_DATABASE,
                label=Label("decoy", _DECOY_ID, end, _DECOY_DATABASE).text(key),
                owner=owner,
                owner_label=Label("decoy", _DECOY_ID, end, owner).text(key),
            ),
        )


def look_at_key(keys: Sealer, snapshot: Snapshot) -> list[Found]:
    """Ask for a decryption that must fail, and list the keys."""
    if keys.find_state(_DECOY_KEY) is not KeyState.LIVE:
        raise KeyUnavailable("the look at the keys is blind: it does not see its decoy")
    found = [_look_at_one(keys, "data key", snapshot.wrapping_key, snapshot.wrapped_key, snapshot)]
    return found + (look_at_volume_key(keys, snapshot) if snapshot.port is not None else [])


def look_at_volume_key(keys: Sealer, snapshot: Snapshot) -> list[Found]:
    name, wrapped = snapshot.volume_key, snapshot.wrapped_volume_key
    return [_look_at_one(keys, "volume key", name, wrapped, snapshot)]


def _look_at_one(
    keys: Sealer, kind: str, name: str, wrapped: bytes | None, snapshot: Snapshot
) -> Found:
    listed, opened = name in keys.list_names(f"{name.partition('/')[0]}/"), False
    if wrapped is not None:
        try:
            keys.unwrap(name, wrapped, snapshot.id.encode())
            opened = True
        except KeyErased:
            pass
    erased = keys.find_state(name) is KeyState.ERASED
    method = "asked to unwrap, which must be refused; listed the keys"
    return Found(kind, name, method, listed or opened or not erased)


def look_at_server(server: Target | Dedicated, snapshot: Snapshot) -> list[Found]:
    """List databases and roles; ours by name or by label, so that a renamed one is found too.

    Of a copy's own server: its processes, its mount and its folder.
    """
    if isinstance(server, Dedicated):
        return _look_at_own(server, snapshot)
    with roles.session(server) as fresh:
        databases = sandbox.list_sandboxes_in(fresh)
        members = roles.list_marked_roles_in(fresh)
    blind = not any(found.name == _DECOY_DATABASE for found in databases) or not any(
        role.name == f"{_DECOY_DATABASE}_o" for role in members
    )
    if blind:
        raise ServerUnavailable("the look at the test server is blind: it does not see its decoys")
    ours = [
        found.name
        for found in databases
        if found.name == snapshot.sandbox or _names(found.label_text, snapshot.id)
    ]
    left = [
        role.name
        for role in members
        if role.name in {snapshot.owner_role, snapshot.use_role}
        or _names(role.comment, snapshot.id)
    ]
    return [
        Found("sandbox database", snapshot.sandbox, "listed databases and labels", bool(ours)),
        Found(
            "sandbox role",
            f"{snapshot.owner_role}, {snapshot.use_role}",
            "listed marked roles and labels",
            bool(left),
        ),
    ]


def _look_at_own(server: Dedicated, snapshot: Snapshot) -> list[Found]:
    seen, name = server.see(), snapshot.sandbox
    volume = "listed the host's mounts and folders"
    return [
        Found("server process", name, "listed the host's processes", seen.processes > 0),
        Found("server volume", volume_place(name), volume, seen.mounted or seen.folder),
    ]


def _names(label_text: str | None, snapshot_id: str) -> bool:
    """Whether a label, of whatever truth, speaks of this snapshot."""
    return labels.is_marked(label_text) and snapshot_id in (label_text or "")


def look_at_store(store: Store, snapshot: Snapshot) -> list[Found]:
    """List the whole store: versions and unfinished uploads too, and names outside the prefix."""
    everything = list(store.list_all(""))
    if not any(stored.name == _DECOY_OBJECT for stored in everything):
        raise StoreUnavailable("the look at the store is blind: it does not see its decoy")
    ours = [stored.name for stored in everything if snapshot.id in stored.name]
    return [
        Found(
            "artifact",
            snapshot.prefix,
            "listed all objects, versions and unfinished uploads",
            bool(ours),
        )
    ]


def look_everywhere(
    ports: Ports, server: Target | Dedicated, snapshot: Snapshot
) -> tuple[list[Found], list[str]]:
    """All looks; one that fails is a sentence in the second list and does not keep the others.

    If one failed, all are made once more: it may have missed the decoys, which are put there then.
    """
    found, problems = _look_at_all(ports, server, snapshot)
    if problems:
        place_decoys(ports.database, ports.keys, ports.store, server)
        crash_point("decoys-placed")
        found, problems = _look_at_all(ports, server, snapshot)
    return found, problems


def _look_at_all(
    ports: Ports, server: Target | Dedicated, snapshot: Snapshot
) -> tuple[list[Found], list[str]]:
    found: list[Found] = []
    problems: list[str] = []
    looks: Sequence[Callable[[], list[Found]]] = (
        lambda: look_at_key(ports.keys, snapshot),
        lambda: look_at_server(server, snapshot),
        lambda: look_at_store(ports.looked_at, snapshot),
    )
    for look in looks:
        try:
            found += look()
        except FAILURES as error:
            problems.append(describe(error))
    return found, problems


def list_left(found: Sequence[Found]) -> list[str]:
    """A sentence for each place where something is left."""
    return [f"still there: {item.kind} {item.place}" for item in found if item.found]
