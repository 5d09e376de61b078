"""Making way for the tenant's own migration: no login, no view of ours on its database.

A view stands in the way of ALTER and DROP of what it reads, and an open transaction of a login in
the way of everything. So a release ends every login there, whose last one takes the views along,
and lets none be made until `released_until`. What must stay true: whether the way is clear is read
from the tables, where a thing is gone only after a fresh look found nothing; never from the fact
that it was asked for. A copy that is being made withdraws by itself as soon as somebody waits for
it (`engines/postgres/copying/yielding`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from broker import mail, people, tenants, trail
from broker.bell import ring
from broker.errors import Invalid
from broker.grants import leases
from broker.grants.model import Lease, LiveScope
from broker.grants.states import LEASE_OPEN
from broker.ids import PersonId, TenantId
from broker.jobs import Queue
from broker.letters import Letter, phrase
from broker.tenants import TenantDatabase
from broker.tx import Tx

MOST_S = 4 * 3600
_WHY = "the database was released for a migration"


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """How far the way is clear; `stuck_reason` is of a login or a view that does not go."""

    database_id: str
    released_until: datetime | None
    logins: int
    scopes: int
    stuck_reason: str | None

    @property
    def clear(self) -> bool:
        return not (self.logins or self.scopes)


def release(tx: Tx, database_id: str, closed_s: int, queue: Queue) -> None:
    """End all logins on a live database, and make none for `closed_s` seconds. Tells both sides."""
    database = tenants.get_database(tx, database_id)
    tenant_id = TenantId(database.tenant_id)
    people.check(tx, "database:release", tenant_id)
    if not 0 <= closed_s <= MOST_S:
        problem = f"from 0 to {MOST_S} seconds"
        raise Invalid("a database is released for 4 hours at most", fields={"closed_s": problem})
    # Locked: a login that is asked for meanwhile is either seen here or sees `released_until`.
    tx.session.refresh(database, with_for_update=True)
    database.released_until = tx.at + timedelta(seconds=closed_s)
    cut = [lease for lease in _list_open(tx, database_id) if leases.end(tx, lease, _WHY, queue)]
    queue.put(tx, "drop_scopes", database_id, queue="access")
    facts = {"logins": len(cut), "until": database.released_until.isoformat()}
    trail.record(tx, tenant_id, "database.released", database_id, facts)
    _tell(tx, database, cut)
    ring(tx, database_id)


def get_release_view(tx: Tx, database_id: str) -> ReleaseView:
    """Raises NotFound, Denied."""
    database = tenants.get_database(tx, database_id)
    people.check(tx, "database:release", TenantId(database.tenant_id))
    open_now = _list_open(tx, database_id)
    scopes = tx.session.scalars(
        sa.select(LiveScope).where(
            LiveScope.database_id == database_id, LiveScope.dropped_at.is_(None)
        )
    ).all()
    why = [*(lease.stuck_reason for lease in open_now), *(scope.stuck_reason for scope in scopes)]
    reasons = [reason for reason in why if reason is not None]
    return ReleaseView(
        database_id=database_id,
        released_until=database.released_until,
        logins=len(open_now),
        scopes=len(scopes),
        stuck_reason=reasons[0] if reasons else None,
    )


def _list_open(tx: Tx, database_id: str) -> Sequence[Lease]:
    return tx.session.scalars(
        sa.select(Lease)
        .where(Lease.database_id == database_id, Lease.state.in_(LEASE_OPEN))
        .order_by(Lease.id)
    ).all()


def _tell(tx: Tx, database: TenantDatabase, cut: Sequence[Lease]) -> None:
    """The tenant's admins, and each engineer whose login was cut; neither reads of the other."""
    until = database.released_until or ""
    subject = phrase("%(name)s was released for a migration", name=database.name)
    theirs = phrase(
        "%(count)s open logins on it are being cut and the views of support access dropped. "
        "No login is made there before %(until)s. The grants go on until their own end.",
        count=len(cut),
        until=until,
    )
    to_admins = Letter(subject, [theirs], kind="technical", page=f"/databases/{database.id}")
    mail.write_to_roles(tx, TenantId(database.tenant_id), ["admin"], to_admins)
    mine = phrase(
        "Your login there is being cut. Your grant goes on: connect again after %(until)s.",
        until=until,
    )
    for engineer in sorted({lease.person_id for lease in cut}):
        mail.write(tx, PersonId(engineer), None, Letter(subject, [mine], kind="technical"))
