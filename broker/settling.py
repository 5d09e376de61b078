"""What has ended, until it is seen that nothing open rests on it: then it is settled, for good.

    ticket, person, role in the vendor  ended ─▶ their grants ended            ─▶ settled
    standing approval               withdrawn ─▶ its grants ended              ─▶ settled
    grant                               over  ─▶ its logins and copies ended   ─▶ settled
    login                             revoked ─▶ its scope dropped, or in use  ─▶ settled

So a sweep starts from what ended and is not settled, however much lives and however much has long
ended. It stays level-triggered: no event says that something must end, the rows do, until a look
says that nothing is left. What must stay true: nothing opens on what is settled. Who inserts a
grant, login or copy locks what it rests on, by a trigger (`check_not_settled`); here that row is
locked first, passing over who is under way, and looked at by a later statement than the lock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from broker.db import Base
from broker.due import Due, find_due
from broker.grants.model import Grant, Lease, LiveScope, Standing
from broker.grants.states import LEASE_OPEN
from broker.people import Membership, Person
from broker.snapshots.model import Snapshot
from broker.snapshots.states import ALIVE
from broker.tickets.mirror import Ticket
from broker.tx import Tx

GRANT_OPEN = ("requested", "approved")
LEASE_ALIVE = ("pending", "issued")
_BATCH = 200
_SETTLED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class _Cause:
    """A table, which of its rows are over and not settled, and which of them nothing rests on."""

    model: type[Base]
    unsettled: sa.ColumnElement[bool]
    is_clear: sa.ColumnElement[bool]
    due: Due[Any]  # whether any is unsettled

    @property
    def id(self) -> Any:
        return sa.inspect(self.model).columns["id"]


def _cause(
    model: type[Base], unsettled: sa.ColumnElement[bool], is_clear: sa.ColumnElement[bool]
) -> _Cause:
    due = Due(model, unsettled, sa.inspect(model).columns["id"])
    return _Cause(model, unsettled, is_clear, due)


def _open_grants(*where: sa.ColumnElement[bool]) -> sa.Exists:
    return sa.select(Grant.id).where(Grant.state.in_(GRANT_OPEN), *where).exists()


_other = sa.orm.aliased(Membership)
_able = (  # another role in the vendor
    sa.select(_other.id)
    .where(
        _other.person_id == Membership.person_id,
        _other.tenant_id.is_(None),
        _other.ended_at.is_(None),
    )
    .exists()
)
_TICKET = _cause(
    Ticket,
    sa.and_(Ticket.ended_at.is_not(None), Ticket.settled_at.is_(None)),
    ~_open_grants(Grant.ticket_id == Ticket.id),
)
_PERSON = _cause(
    Person,
    sa.and_(Person.disabled_at.is_not(None), Person.settled_at.is_(None)),
    ~_open_grants(Grant.requester_id == Person.id),
)
_ROLE = _cause(
    Membership,
    sa.and_(
        Membership.ended_at.is_not(None),
        Membership.tenant_id.is_(None),
        Membership.settled_at.is_(None),
    ),
    sa.or_(_able, ~_open_grants(Grant.requester_id == Membership.person_id)),
)
_STANDING = _cause(
    Standing,
    sa.and_(Standing.state == "ended", ~Standing.keeps_grants, Standing.settled_at.is_(None)),
    ~_open_grants(Grant.standing_id == Standing.id),
)
_GRANT = _cause(
    Grant,
    sa.and_(Grant.state.in_(("refused", "ended")), Grant.settled_at.is_(None)),
    sa.and_(
        ~sa.select(Lease.id)
        .where(Lease.grant_id == Grant.id, Lease.state.in_(LEASE_ALIVE))
        .exists(),
        ~sa.select(Snapshot.id)
        .where(Snapshot.grant_id == Grant.id, Snapshot.state.in_(ALIVE))
        .exists(),
    ),
)
_also = sa.orm.aliased(Lease)
_LEASE = _cause(
    Lease,
    sa.and_(Lease.state == "revoked", Lease.settled_at.is_(None)),
    sa.or_(
        ~sa.select(LiveScope.name)
        .where(LiveScope.name == Lease.scope_name, LiveScope.dropped_at.is_(None))
        .exists(),
        sa.select(_also.id)
        .where(_also.scope_name == Lease.scope_name, _also.state.in_(LEASE_OPEN))
        .exists(),
    ),
)


BASELESS = (_TICKET.due, _STANDING.due, _PERSON.due, _ROLE.due)
GRANTS_OVER = _GRANT.due
LEASES_OVER = _LEASE.due


def list_baseless_grants(tx: Tx, due: Collection[Due[Any]]) -> Sequence[Grant]:
    """Open, though the ticket has ended, who asked may ask no more, or the approval that was given
    in advance was withdrawn. `due` are those of `BASELESS` of which there are any.
    """
    found: dict[Grant, None] = {}
    for cause, of_grant, named in (
        (_TICKET, Grant.ticket_id, Ticket.id),
        (_STANDING, Grant.standing_id, Standing.id),
        (_PERSON, Grant.requester_id, Person.id),
        (_ROLE, Grant.requester_id, Membership.person_id),
    ):
        ids = _list_unsettled(tx, cause, named) if cause.due in due else ()
        if ids:
            query = sa.select(Grant).where(of_grant.in_(ids), Grant.state.in_(GRANT_OPEN))
            found |= dict.fromkeys(tx.session.scalars(query.limit(_BATCH)))
    return list(found)


def list_under_ended(tx: Tx) -> tuple[Sequence[Lease], Sequence[Snapshot]]:
    """Logins and copies that live, though their grant is over (G3)."""
    grants = _list_unsettled(tx, _GRANT, Grant.id)
    leases = sa.select(Lease).where(Lease.grant_id.in_(grants), Lease.state.in_(LEASE_ALIVE))
    copies = sa.select(Snapshot).where(Snapshot.grant_id.in_(grants), Snapshot.state.in_(ALIVE))
    return (
        tx.session.scalars(leases.limit(_BATCH)).all(),
        tx.session.scalars(copies.limit(_BATCH)).all(),
    )


def list_with_unused_scopes(tx: Tx) -> Sequence[str]:
    """Ids of databases on which a scope stands, or may stand, that no open lease uses."""
    names = _list_unsettled(tx, _LEASE, Lease.scope_name)
    query = _unused_scopes(LiveScope.database_id).where(LiveScope.name.in_(names))
    return tx.session.scalars(query.distinct()).all()


def list_unused_scopes(tx: Tx, database_id: str) -> Sequence[str]:
    """Names of the scopes on one database that no open lease uses."""
    query = _unused_scopes(LiveScope.name).where(LiveScope.database_id == database_id)
    return tx.session.scalars(query).all()


def _unused_scopes(column: Any) -> sa.Select[Any]:
    used = sa.select(Lease.id).where(
        Lease.scope_name == LiveScope.name, Lease.state.in_(LEASE_OPEN)
    )
    return sa.select(column).where(LiveScope.dropped_at.is_(None), ~used.exists())


def settle(tx: Tx) -> int:
    """Settle what nothing rests on; returns how much. Waits for nobody, so nobody for it for long.

    In a transaction of its own: one that has ended things holds locks that others wait for.
    """
    due = find_due(tx, *(cause.due for cause in _CAUSES))
    return sum(_settle(tx, cause) for cause in _CAUSES if cause.due in due)


_CAUSES = (_TICKET, _PERSON, _ROLE, _STANDING, _GRANT, _LEASE)


def _settle(tx: Tx, cause: _Cause) -> int:
    query = sa.select(cause.id).where(cause.unsettled).order_by(sa.func.random())
    if cause is _ROLE:  # a grant locks the person who asks, not the role: both are locked here
        query = query.join(Person, Person.id == Membership.person_id)
    query = query.limit(_SETTLED_AT_ONCE).with_for_update(skip_locked=True)
    ids = tx.session.scalars(query).all()
    if not ids:
        return 0
    settled = tx.session.execute(
        sa.update(cause.model)
        .where(cause.id.in_(ids), cause.is_clear)
        .values(settled_at=tx.at)
        .execution_options(synchronize_session=False)
        .returning(cause.id)
    ).all()
    return len(settled)


def _list_unsettled(tx: Tx, cause: _Cause, column: Any) -> Sequence[str]:
    """In no order, so that what can't be settled never keeps the rest."""
    query = sa.select(column).where(cause.unsettled).order_by(sa.func.random())
    return tx.session.scalars(query.limit(_BATCH)).all()
