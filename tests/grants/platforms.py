"""A platform of a world's tenant, grants on it, and tokens under them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from broker import platforms
from broker.grants import requests, tokens
from broker.grants.narrowing import Narrowing
from broker.grants.requests import Ask
from broker.ids import GrantId, LeaseId, PlatformId, TenantId
from broker.keys.intake import open_login, waiting_context
from broker.secret import Secret
from broker.tx import system
from tests.stories import wait_until
from tests.world import REASON, World


@dataclass(frozen=True)
class Registered:
    """A platform, and its secret for asking about tokens."""

    id: PlatformId
    audience: str
    secret: Secret[str]


def register(world: World, tenant_id: TenantId | None = None) -> Registered:
    audience = f"https://crm.example/{secrets.token_hex(6)}"
    with world.as_(world.operator) as tx:
        identity, secret = platforms.register(tx, tenant_id or world.tenant, "CRM", audience)
    return Registered(identity, audience, secret)


def request(
    world: World, platform_id: str | None, *, live_s: int = 0, platform_s: int = 3600
) -> GrantId:
    ask = Ask(
        ticket_id=world.ticket(),
        database_id=world.database_id,
        category="customer_report",
        reason=REASON,
        live_s=live_s,
        copy_s=0,
        platform_s=platform_s,
        platform_id=platform_id,
    )
    with world.as_(world.engineer) as tx:
        grant_id = requests.request(tx, ask, world.broker.settings.times, world.broker.queue)
    world.work()
    wait_until(lambda: world.grant(grant_id).asked_digest is not None, "its plan is made")
    return grant_id


def granted(world: World, platform_id: str, *, live_s: int = 0) -> GrantId:
    grant_id = request(world, platform_id, live_s=live_s)
    world.approve(grant_id, Narrowing())
    return grant_id


class Waiting:
    """What the web process is for one request: the only holder of the key that opens its token."""

    def __init__(self, world: World, audience: str, grant_id: str | None = None) -> None:
        self._world, self._private = world, X25519PrivateKey.generate()
        public = self._private.public_key().public_bytes_raw()
        with world.as_(world.engineer) as tx:
            self.lease_id: LeaseId = tokens.ask(tx, audience, grant_id, public, world.broker.queue)

    def fetch(self) -> Secret[str] | None:
        with self._world.as_(self._world.engineer) as tx:
            sealed = tokens.fetch(tx, self.lease_id)
        if sealed is None:
            return None
        return open_login(self._private, sealed, waiting_context(self.lease_id))


def make_token(world: World, audience: str) -> tuple[LeaseId, Secret[str]]:
    waiting = Waiting(world, audience)
    world.work()
    token = waiting.fetch()
    assert token is not None
    return waiting.lease_id, token


def is_active(world: World, token: Secret[str], platform: Registered) -> bool:
    """What the platform is answered when it asks."""
    with world.as_(system("tests")) as tx:
        asking = platforms.find_authenticated(tx, platform.id, platform.secret)
        assert asking is not None
        return tokens.find_active(tx, token, asking) is not None
