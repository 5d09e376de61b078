"""What the steps of a copy's life need of the outside world, built once by `bootstrap`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from broker.db import Database
from broker.engines.postgres.dedicated.host import SandboxHost
from broker.grants.policy import Policy
from broker.jobs import Queue
from broker.keys import Sealer, Signer
from broker.stores import Store
from broker.stores.sts import Sessions


class KeyPort(Sealer, Signer, Protocol):
    """Both faces: a worker that makes, destroys and certifies copies holds both."""


@dataclass(frozen=True, slots=True)
class Ports:
    database: Database
    queue: Queue
    keys: KeyPort
    store: Store
    policy: Policy
    sessions: Sessions | None = None
    listing: Store | None = None  # the store through another login, where there is one
    host: SandboxHost | None = None  # where this worker is on a host of dedicated servers

    @property
    def looked_at(self) -> Store:
        """The store as looks see it: by another principal than the one that deletes, if set."""
        return self.listing or self.store
