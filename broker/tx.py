"""The one transaction object: first parameter of every function that changes state.

Time is read once, from the control database's clock, when the transaction opens; nothing below
asks the clock again. So there is one clock for all processes, and a skewed host decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from broker.ids import PersonId, TenantId

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a signed-in person, or a part of the broker itself (`system`).

    `side` is `vendor`, `tenant` or `system`; `via` says how they had authenticated:
    `password`, `passkey`, `token`, or the name of the process for the broker itself; `until` is
    when a token ends; `tenants` are those that a token is limited to, None where it is not.
    """

    side: str
    via: str
    person_id: PersonId | None = None
    until: datetime | None = None
    tenants: frozenset[TenantId] | None = None


def system(process: str) -> Actor:
    return Actor(side="system", via=process)


@dataclass(frozen=True, slots=True)
class Tx:
    """An open transaction, the instant at which it opened (aware UTC), and who acts in it."""

    session: Session
    at: datetime
    actor: Actor
