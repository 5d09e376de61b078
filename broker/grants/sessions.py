"""Sessions: leases whose credential is a session on a tenant's objects in a bucket.

Here: asking for one under a grant, and fetching it once. The worker that starts it is
`session_steps`. What must stay true: a session reads below the one prefix that the plan names, and
ends by itself no later than its grant. Nobody can end a single session before its time, so a
condemned one is `revoking` until its own end is past, and only then `revoked` (G3). Hence the
shortest life that token services give.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from broker import people, storages
from broker.errors import Conflict, Denied
from broker.grants import in_force, leases, requests
from broker.grants.model import Lease
from broker.grants.requests import GrantRefused
from broker.ids import LeaseId, TenantId
from broker.jobs import Queue
from broker.tx import Tx

LIFE_S = storages.SHORTEST_S
SLACK = timedelta(seconds=60)  # for the worker that starts it, and for clocks
OPEN_PER_GRANT = 5


def ask(tx: Tx, grant_id: str, public: bytes, queue: Queue) -> LeaseId:
    """Ask for a session; the worker seals it to `public` (32 bytes, X25519).

    Raises GrantRefused when the grant gives none or too little time is left, Conflict for too many.
    """
    people.check(tx, "lease:issue")  # first: who may ask for none learns of no grant (G12)
    grant = requests.get_grant(tx, grant_id, lock=True)
    people.check(tx, "lease:issue", TenantId(grant.tenant_id))  # a token may be of other tenants
    if tx.actor.person_id != grant.requester_id:
        raise Denied("only who asked for a grant uses it")
    until = in_force.check_usable(tx, grant, kind="storage")
    storage = storages.get_storage(tx, grant.storage_id or "")
    ends_at = (tx.at + timedelta(seconds=LIFE_S) + SLACK).replace(microsecond=0)
    if ends_at > until:
        raise GrantRefused(
            f"{grant.id} ends at {until.isoformat()}: no session is as short as what is left"
        )
    _check_few(tx, grant.id)
    asked = leases.Sealed("storage", storage.id, public, ends_at)
    lease_id = leases.begin_sealed(tx, grant, asked)
    queue.put(tx, "issue_session", lease_id, queue="access")
    return lease_id


def _check_few(tx: Tx, grant_id: str) -> None:
    alive = sa.select(sa.func.count()).where(
        Lease.grant_id == grant_id,
        Lease.storage_id.is_not(None),
        Lease.state.in_(("pending", "issued")),
    )
    count = tx.session.scalar(alive) or 0
    if count >= OPEN_PER_GRANT:
        raise Conflict(f"{grant_id} has {count} live sessions; use one of them")


def fetch(tx: Tx, lease_id: str) -> bytes:
    """The sealed session of the actor's own lease, once: it is forgotten here. Raises Conflict."""
    people.check(tx, "lease:issue")
    lease = leases.get_lease(tx, lease_id)
    people.check(tx, "lease:issue", TenantId(lease.tenant_id))
    if lease.person_id != tx.actor.person_id:
        raise Denied("this session was asked by another person")
    tx.session.refresh(lease, with_for_update=True)
    sealed = lease.sealed
    if sealed is None or lease.state != "issued":
        raise Conflict(
            f"{lease.id} is {lease.state}, and holds no session to fetch; ask for another"
        )
    lease.sealed = None
    return sealed
