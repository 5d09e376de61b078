"""Who is linked with whom at a sign-in service: by (issuer, sub), and by nothing else.

What must stay true: a link is made only by who holds the invitation of the account or is signed in
to it; an address that a service claims links nothing. Whose roles end loses the links there.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from broker import people, trail
from broker.errors import NOT_THERE, Conflict, Denied, NotFound
from broker.ids import PersonId, TenantId
from broker.languages import mark
from broker.oidc.model import IdentityProvider, LinkedIdentity
from broker.oidc.providers import get, tenant_of
from broker.people import Membership
from broker.sessions import WebSession
from broker.tenants import Tenant
from broker.tx import Tx


def find_person(tx: Tx, provider: IdentityProvider, subject: str) -> PersonId | None:
    row = tx.session.get(LinkedIdentity, (provider.id, subject))
    return PersonId(row.person_id) if row is not None else None


def make(tx: Tx, provider: IdentityProvider, subject: str, person_id: PersonId) -> None:
    """Raises Denied for who has no role there, Conflict where either is linked otherwise."""
    tenant_id = tenant_of(provider)
    if not people.is_member(tx, person_id, tenant_id):
        raise Denied(mark("this sign-in service is not of an organisation where you have a role"))
    known = find_person(tx, provider, subject)
    if known == person_id:
        return
    if known is not None or _find_subject(tx, provider, person_id) is not None:
        raise Conflict(
            mark("another account is linked with this sign-in; an admin of yours can end that link")
        )
    tx.session.add(
        LinkedIdentity(
            provider_id=provider.id, subject=subject, person_id=person_id, linked_at=tx.at
        )
    )
    tx.session.flush()
    trail.record(tx, tenant_id, "identity.linked", person_id, {"provider": provider.id})


def _find_subject(tx: Tx, provider: IdentityProvider, person_id: str) -> str | None:
    return tx.session.scalar(
        sa.select(LinkedIdentity.subject).where(
            LinkedIdentity.provider_id == provider.id, LinkedIdentity.person_id == person_id
        )
    )


def end(tx: Tx, provider_id: str, person_id: str) -> None:
    """An admin ends the link of one of their people, and the sessions that it opened."""
    provider = get(tx, provider_id)
    people.check(tx, "identity:configure", tenant_of(provider))
    if provider.tenant_id is not None and tx.actor.side != "tenant":
        raise Denied("only a tenant's own admins say how its people sign in")
    if _find_subject(tx, provider, person_id) is None:
        raise NotFound(NOT_THERE)
    _end(tx, PersonId(person_id), tenant_of(provider), [provider.id])


def end_in(tx: Tx, person_id: PersonId, tenant_id: TenantId | None) -> None:
    """Whose roles in an organisation ended is linked with none of its services."""
    own = sa.select(IdentityProvider.id).where(
        IdentityProvider.tenant_id.is_not_distinct_from(tenant_id)
    )
    linked = sa.select(LinkedIdentity.provider_id).where(
        LinkedIdentity.person_id == person_id, LinkedIdentity.provider_id.in_(own)
    )
    _end(tx, person_id, tenant_id, list(tx.session.scalars(linked)))


def _end(tx: Tx, person_id: PersonId, tenant_id: TenantId | None, providers: list[str]) -> None:
    for provider_id in providers:
        tx.session.execute(
            sa.delete(LinkedIdentity).where(
                LinkedIdentity.provider_id == provider_id, LinkedIdentity.person_id == person_id
            )
        )
        tx.session.execute(
            sa.update(WebSession)
            .where(
                WebSession.provider_id == provider_id,
                WebSession.person_id == person_id,
                WebSession.ended_at.is_(None),
            )
            .values(ended_at=tx.at)
        )
        trail.record(tx, tenant_id, "identity.unlinked", person_id, {"provider": provider_id})


@dataclass(frozen=True, slots=True)
class Offered:
    """A service that the actor may link, or has linked; `organisation` None: the vendor's."""

    id: str
    name: str
    organisation: str | None
    linked: bool


def list_offered(tx: Tx) -> list[Offered]:
    """Of the organisations where the actor has a role."""
    person_id = tx.actor.person_id
    member = sa.select(Membership.id).where(
        Membership.person_id == person_id,
        Membership.tenant_id.is_not_distinct_from(IdentityProvider.tenant_id),
        Membership.ended_at.is_(None),
    )
    linked = sa.select(LinkedIdentity.subject).where(
        LinkedIdentity.provider_id == IdentityProvider.id, LinkedIdentity.person_id == person_id
    )
    rows = tx.session.execute(
        sa.select(IdentityProvider.id, IdentityProvider.name, Tenant.name, linked.exists())
        .outerjoin(Tenant, Tenant.id == IdentityProvider.tenant_id)
        .where(IdentityProvider.removed_at.is_(None), member.exists())
        .order_by(Tenant.name, IdentityProvider.name)
    )
    return [Offered(*row) for row in rows]


def list_linked(tx: Tx, provider_id: str) -> list[PersonId]:
    """Whose link an admin may end."""
    provider = get(tx, provider_id)
    people.check(tx, "person:read", tenant_of(provider))
    linked = sa.select(LinkedIdentity.person_id).where(LinkedIdentity.provider_id == provider.id)
    return [PersonId(one) for one in tx.session.scalars(linked.order_by(LinkedIdentity.linked_at))]


def forget_person(tx: Tx, person_id: PersonId) -> None:
    tx.session.execute(sa.delete(LinkedIdentity).where(LinkedIdentity.person_id == person_id))
