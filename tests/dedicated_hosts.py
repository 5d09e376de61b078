"""A host of dedicated test servers for tests: with volumes of gocryptfs, or with plain folders.

The plain form is for what does not rest on encryption; it can't be set up by any setting.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from broker import tenants
from broker.engines.postgres.dedicated.cluster import user_ids
from broker.engines.postgres.dedicated.host import SandboxHost, make_host
from broker.engines.postgres.scram import new_password
from broker.grants import requests
from broker.grants.scope_kinds import Wanted
from broker.ids import GrantId
from broker.keys.intake import login_context, seal_login
from broker.secret import Secret
from broker.settings import Host
from broker.tenants import TestServer
from tests.grants.test_time import ask_of
from tests.world import World

FIRST_PORT = 6400
USER = "nobody"


@dataclass(frozen=True)
class PlainFolder:
    """A volume without a lock: mounting it gives the server's user its folder."""

    def make(self, sealed: str, key: Secret[bytes]) -> None:
        pass

    def mount(self, sealed: str, clear: str, key: Secret[bytes]) -> None:  # noqa: ARG002
        if (ids := user_ids(USER)) is not None:
            os.chown(clear, *ids)

    def unmount(self, clear: str) -> None:
        pass


@contextmanager
def host_of(world: World, *, plain: bool) -> Iterator[SandboxHost]:
    """Register a dedicated host in this world and give its worker the agent of it."""
    with tempfile.TemporaryDirectory(prefix="brk-h-", dir="/tmp") as name:
        folder, sockets = Path(name, "servers"), Path(name, "s")
        Path(name).chmod(0o711)
        folder.mkdir(mode=0o711)
        sockets.mkdir()
        if (ids := user_ids(USER)) is not None:
            os.chown(sockets, *ids)
        sockets.chmod(0o755)
        host = make_host(folder, user=USER)
        if plain:
            host = replace(host, volume=PlainFolder())
        object.__setattr__(world.ports, "host", host)  # as if set when the worker was built
        settings = world.broker.settings
        object.__setattr__(settings, "host", Host(folder=folder, user=USER))
        register(world, str(sockets))
        try:
            yield host
        finally:
            for seen in host.look():
                host.destroy(seen.name)
            object.__setattr__(world.ports, "host", None)
            object.__setattr__(settings, "host", Host())


def register(world: World, sockets: str) -> None:
    password, login = new_password(), f"sab_host_{secrets.token_hex(4)}"
    context = login_context("server", sockets, FIRST_PORT, login)
    sealed = seal_login(world.ports.keys.intake_public(), password, context)
    with world.as_(world.operator) as tx:
        tenants.register_server(
            tx,
            TestServer(
                name=f"dedicated {secrets.token_hex(2)}",
                host=sockets,
                port=FIRST_PORT,
                login=login,
                sealed_password=sealed,
                kind="dedicated",
            ),
        )


def dedicated_grant(world: World, ticket: str | None = None) -> GrantId:
    """Approved, for a copy on a server of its own."""
    wanted = Wanted(dedicated=True)
    ask = replace(ask_of(world, ticket or world.ticket()), live_s=0, copy_s=86400, wanted=wanted)
    with world.as_(world.engineer) as tx:
        grant_id = requests.request(tx, ask, world.broker.settings.times, world.broker.queue)
    world.work()
    world.approve(grant_id)
    return grant_id
