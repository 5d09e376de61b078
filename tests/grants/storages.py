"""A storage of a world's tenant, grants on it, and sessions under them."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from broker import storages
from broker.grants import requests, sessions
from broker.grants.requests import Ask
from broker.ids import GrantId, LeaseId, TenantId
from broker.keys.intake import open_login, waiting_context
from tests.stories import wait_until
from tests.world import REASON, World


def register_storage(
    world: World, prefix: str, tenant_id: TenantId | None = None, bucket: str = "objects"
) -> str:
    with world.as_(world.operator) as tx:
        return storages.register(tx, tenant_id or world.tenant, "Imports", bucket, prefix)


def request(
    world: World, storage_id: str | None, *, live_s: int = 0, storage_s: int = 3600
) -> GrantId:
    ask = Ask(
        ticket_id=world.ticket(),
        database_id=world.database_id,
        category="customer_report",
        reason=REASON,
        live_s=live_s,
        copy_s=0,
        storage_s=storage_s,
        storage_id=storage_id,
    )
    with world.as_(world.engineer) as tx:
        grant_id = requests.request(tx, ask, world.broker.settings.times, world.broker.queue)
    world.work()
    wait_until(lambda: world.grant(grant_id).asked_digest is not None, "its plan is made")
    return grant_id


class Waiting:
    """A client that asked for a session: the only holder of the key that opens it."""

    def __init__(self, world: World, grant_id: str) -> None:
        self._world, self._private = world, X25519PrivateKey.generate()
        public = self._private.public_key().public_bytes_raw()
        with world.as_(world.engineer) as tx:
            self.lease_id: LeaseId = sessions.ask(tx, grant_id, public, world.broker.queue)

    def fetch(self) -> dict[str, Any]:
        with self._world.as_(self._world.engineer) as tx:
            sealed = sessions.fetch(tx, self.lease_id)
        opened = open_login(self._private, sealed, waiting_context(self.lease_id))
        return json.loads(opened.reveal())
