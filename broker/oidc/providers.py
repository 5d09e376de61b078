"""Registering an organisation's sign-in service: by its own admins, or for the vendor by operators.

What must stay true: issuer and client id never change, for the links and the sealed secret rest on
them; whoever removes a service ends every session that it opened, and every link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from broker import people, trail
from broker.errors import NOT_THERE, Denied, Invalid, NotFound
from broker.ids import ProviderId, TenantId, new_id
from broker.jobs import Queue
from broker.oidc.model import IdentityProvider, LinkedIdentity
from broker.outgoing import check_url
from broker.people import TENANT_ROLES, VENDOR_ROLES
from broker.sessions import WebSession
from broker.tenants import check_name
from broker.trail import Personal
from broker.tx import Tx

_MOST_GROUPS, _MOST_CHARACTERS = 100, 256


@dataclass(frozen=True, slots=True)
class Rules:
    """What may change: `roles` is from a group's name to a role, and where it is empty, roles stay
    as admins gave them here; `acr` and `amr` are what a step-up asks for, one of each.
    """

    name: str
    groups_claim: str = "groups"
    roles: Mapping[str, str] = field(default_factory=dict)
    acr: Sequence[str] = ()
    amr: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Client:
    """Ours at the service; `sealed_secret` None where PKCE alone proves it."""

    issuer: str
    client_id: str
    sealed_secret: bytes | None


def register(
    tx: Tx, tenant_id: TenantId | None, client: Client, rules: Rules, queue: Queue, *, local: bool
) -> ProviderId:
    """Raises Invalid, Denied. With `local`, an issuer on this machine is taken."""
    _check_may_change(tx, tenant_id)
    _check_rules(rules, tenant_id)
    row = IdentityProvider(
        id=new_id("idp"),
        tenant_id=tenant_id,
        issuer=_check_issuer(client.issuer, local=local),
        client_id=_check_text(client.client_id, "client_id"),
        sealed_secret=client.sealed_secret,
        registered_at=tx.at,
    )
    _put_rules(row, rules)
    tx.session.add(row)
    tx.session.flush()
    told = [Personal("address", client.issuer)]
    trail.record(tx, tenant_id, "identity_provider.registered", row.id, _facts(row), told)
    queue.put(tx, "check_provider", row.id, queue="access")
    return ProviderId(row.id)


def change(tx: Tx, provider_id: str, rules: Rules, sealed_secret: bytes | None = None) -> None:
    """Replace its rules, and its secret where one is given. Raises Invalid, NotFound."""
    row = get(tx, provider_id)
    tenant_id = tenant_of(row)
    _check_may_change(tx, tenant_id)
    _check_rules(rules, tenant_id)
    _put_rules(row, rules)
    if sealed_secret is not None:
        row.sealed_secret = sealed_secret
    trail.record(tx, tenant_id, "identity_provider.changed", row.id, _facts(row))


def check(tx: Tx, provider_id: str, queue: Queue) -> None:
    """Have a worker read what the service says of itself, now."""
    row = get(tx, provider_id)
    _check_may_change(tx, tenant_of(row))
    queue.put(tx, "check_provider", row.id, queue="access")


def remove(tx: Tx, provider_id: str) -> None:
    row = get(tx, provider_id)
    tenant_id = tenant_of(row)
    _check_may_change(tx, tenant_id)
    row.removed_at, row.sealed_secret = tx.at, None
    tx.session.execute(
        sa.update(WebSession)
        .where(WebSession.provider_id == row.id, WebSession.ended_at.is_(None))
        .values(ended_at=tx.at)
    )
    tx.session.execute(sa.delete(LinkedIdentity).where(LinkedIdentity.provider_id == row.id))
    trail.record(tx, tenant_id, "identity_provider.removed", row.id)


def get(tx: Tx, provider_id: str) -> IdentityProvider:
    """Raises NotFound, for another organisation's as for none (G12)."""
    row = find_live(tx, provider_id)
    if row is None:
        raise NotFound(NOT_THERE)
    if row.tenant_id is None and tx.actor.side == "tenant":
        raise NotFound(NOT_THERE)
    people.check(tx, "identity:read", tenant_of(row))
    return row


def find_live(tx: Tx, provider_id: str) -> IdentityProvider | None:
    row = tx.session.get(IdentityProvider, provider_id)
    return row if row is not None and row.removed_at is None else None


def list_providers(tx: Tx, tenant_id: TenantId | None) -> Sequence[IdentityProvider]:
    """Of a tenant, or the vendor's own where that is None."""
    if tenant_id is None and tx.actor.side == "tenant":
        raise NotFound(NOT_THERE)
    people.check(tx, "identity:read", tenant_id)
    query = sa.select(IdentityProvider).where(
        IdentityProvider.tenant_id.is_not_distinct_from(tenant_id),
        IdentityProvider.removed_at.is_(None),
    )
    return tx.session.scalars(query.order_by(IdentityProvider.name, IdentityProvider.id)).all()


def tenant_of(row: IdentityProvider) -> TenantId | None:
    return TenantId(row.tenant_id) if row.tenant_id else None


def _check_may_change(tx: Tx, tenant_id: TenantId | None) -> None:
    """The vendor's operators say who signs in at the vendor, never who does at a customer."""
    if tenant_id is None and tx.actor.side == "tenant":
        raise NotFound(NOT_THERE)
    people.check(tx, "identity:configure", tenant_id)
    if tenant_id is not None and tx.actor.side != "tenant":
        raise Denied("only a tenant's own admins say how its people sign in")


def _check_issuer(issuer: str, *, local: bool) -> str:
    try:
        check_url(issuer, local=local)
    except Invalid as error:
        raise Invalid(error.message, fields={"issuer": error.facts["fields"]["url"]}) from None
    if "?" in issuer:
        raise Invalid("an issuer has no query", fields={"issuer": "without a query"})
    return issuer


def _check_rules(rules: Rules, tenant_id: TenantId | None) -> None:
    allowed = TENANT_ROLES if tenant_id is not None else VENDOR_ROLES
    check_name(rules.name)
    _check_text(rules.groups_claim, "groups_claim")
    if len(rules.roles) > _MOST_GROUPS:
        raise Invalid("too many groups", fields={"roles": f"{_MOST_GROUPS} at most"})
    for group, role in rules.roles.items():
        _check_text(group, "roles")
        if role not in allowed:
            problem = f"the role must be one of {', '.join(allowed)}"
            raise Invalid(problem, fields={"roles": problem})
    for name in ("acr", "amr"):
        for value in getattr(rules, name):
            _check_text(value, name)


def _check_text(text: str, name: str) -> str:
    if not 1 <= len(text.strip()) <= _MOST_CHARACTERS or not text.isprintable():
        raise Invalid("this can't be meant", fields={name: f"1 to {_MOST_CHARACTERS} characters"})
    return text.strip()


def _put_rules(row: IdentityProvider, rules: Rules) -> None:
    row.name, row.groups_claim = check_name(rules.name), rules.groups_claim.strip()
    row.roles = {group.strip(): role for group, role in rules.roles.items()}
    row.step_up_acr, row.step_up_amr = list(rules.acr), list(rules.amr)


def _facts(row: IdentityProvider) -> dict[str, int | bool]:
    return {"groups": len(row.roles), "secret": row.sealed_secret is not None}
