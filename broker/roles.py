"""Roles that an organisation's own directory gives: held exactly as it says, from now on.

What must stay true: a tenant is never left without an admin by it.
"""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from broker import people, trail
from broker.errors import Conflict
from broker.ids import PersonId, TenantId
from broker.people import Membership, Shown
from broker.tx import Tx


def list_roles(tx: Tx, person_id: str, tenant_id: TenantId | None) -> list[str]:
    return sorted(row.role for row in _held(tx, person_id, tenant_id))


def set_roles(
    tx: Tx,
    person_id: PersonId,
    tenant_id: TenantId | None,
    wanted: Collection[str],
    shown: Shown | None = None,
) -> None:
    """End what is not wanted, give what is missing. Raises Conflict for a tenant's last admin.

    One at a time in a tenant, as `people.end_membership` has it.
    """
    if tenant_id is not None:
        tx.session.execute(sa.text("SELECT FROM tenant WHERE id = :t FOR UPDATE"), {"t": tenant_id})
    held = _held(tx, person_id, tenant_id)
    over = [row for row in held if row.role not in wanted]
    if any(row.role == "admin" for row in over) and not has_other_admin(tx, person_id, tenant_id):
        raise Conflict("the last admin can't be removed; make another admin first")
    if shown is None and held:
        shown = Shown(held[0].name, held[0].email)
    for role in sorted(set(wanted) - {row.role for row in held}):
        people.add_membership(tx, person_id, role, tenant_id, shown=shown)
    for row in over:
        row.ended_at = tx.at
    if over:
        people.forget_held(tx)
        roles = {"roles": sorted(row.role for row in over)}
        trail.record(tx, tenant_id, "member.removed", person_id, roles)


def has_other_admin(tx: Tx, person_id: str, tenant_id: TenantId | None) -> bool:
    """Whether somebody else, who is not shut out, is admin there; the vendor has none."""
    admins = people.list_recipients(tx, tenant_id, ["admin"])
    return tenant_id is None or any(one != person_id for one in admins)


def _held(tx: Tx, person_id: str, tenant_id: TenantId | None) -> list[Membership]:
    query = sa.select(Membership).where(
        Membership.person_id == person_id,
        Membership.tenant_id.is_not_distinct_from(tenant_id),
        Membership.ended_at.is_(None),
    )
    return list(tx.session.scalars(query.order_by(Membership.id)))
