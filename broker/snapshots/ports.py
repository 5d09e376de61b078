"""What the steps of a copy's life need of the outside world, built once by `bootstrap`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from broker.db import Database
from broker.grants.policy import Policy
from broker.jobs import Queue
from broker.keys import Sealer, Signer
from broker.stores import Store


class KeyPort(Sealer, Signer, Protocol):
    """Both faces: a worker that makes, destroys and certifies copies holds both."""


@dataclass(frozen=True, slots=True)
class Ports:
    database: Database
    queue: Queue
    keys: KeyPort
    store: Store
    policy: Policy
