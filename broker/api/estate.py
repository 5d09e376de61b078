"""Tenants and their keys; what is late."""

from __future__ import annotations

from marshmallow import fields

from broker import enrolling, lifecycle, people, tenants
from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import (
    Answer,
    Base64,
    Sent,
    bytes_of,
    list_of,
    text,
    whole,
)
from broker.db import Json
from broker.enrolling import NewTenant
from broker.errors import Unavailable
from broker.ids import TenantId
from broker.keys.intake import INTAKE_KEY
from broker.tenants import Tenant
from broker.tx import Tx

blueprint = new_blueprint("estate", "Tenants")


class TenantBody(Sent):
    name = text(200)
    legal_id = text(
        40, metadata={"description": "its SIREN, or its VAT number in the European Union"}
    )
    ticket_customer = text(200, metadata={"description": "the tenant's id in the ticket system"})
    admin_email = text(254)
    admin_name = text(200)


class TenantAnswer(Answer):
    id = fields.String()
    name = fields.String()
    ticket_customer = fields.String()
    legal_id = fields.String(
        allow_none=True,
        metadata={"description": "`siren:…` or `vat:…`; null when it was never told"},
    )
    copies_bytes = fields.Integer(
        allow_none=True,
        metadata={"description": "what its copies may take at once; null: as much as there is"},
    )
    log_origin = fields.String()
    created_at = fields.AwareDateTime()


class QuotaBody(Sent):
    copies_bytes = bytes_of("what the tenant's copies may take at once")


class LegalIdBody(Sent):
    legal_id = text(
        40, metadata={"description": "its SIREN, or its VAT number in the European Union"}
    )


class KeyAnswer(Answer):
    name = fields.String()
    key = fields.Function(lambda key: key.format(), metadata={"type": "string"})
    fingerprint = fields.Function(
        lambda key: key.fingerprint(),
        metadata={"type": "string", "description": "SHA-256 of `key`, hexadecimal"},
    )


class EndedAnswer(Answer):
    ended = fields.Integer(metadata={"description": "how many grants and requests"})


class IntakeAnswer(Answer):
    algorithm = fields.String()
    public = Base64(metadata={"type": "string", "format": "byte"})


@operation(blueprint, "GET /tenants", answer=list_of(TenantAnswer))
def list_tenants(tx: Tx) -> Json:
    """All tenants for the vendor's people; one's own for a tenant's."""
    return whole(tenants.list_tenants(tx))


@operation(blueprint, "POST /tenants", takes=TenantBody, answer=TenantAnswer, status=201)
def create_tenant(tx: Tx, body: Json) -> Tenant:
    """Enrol a tenant with its log, and invite its first admin."""
    tenant_id = enrolling.enrol_tenant(tx, NewTenant(**body), the_broker().settings)
    return tenants.get_tenant(tx, tenant_id)


@operation(blueprint, "GET /tenants/<id:tenant_id>", answer=TenantAnswer)
def get_tenant(tx: Tx, tenant_id: TenantId) -> Tenant:
    """One tenant."""
    people.check(tx, "tenant:read", tenant_id)
    return tenants.get_tenant(tx, tenant_id)


@operation(
    blueprint, "POST /tenants/<id:tenant_id>/legal-id", takes=LegalIdBody, answer=TenantAnswer
)
def identify_tenant(tx: Tx, body: Json, tenant_id: TenantId) -> Tenant:
    """Note who the tenant is in law."""
    enrolling.identify_tenant(tx, tenant_id, body["legal_id"])
    return tenants.get_tenant(tx, tenant_id)


@operation(
    blueprint, "POST /tenants/<id:tenant_id>/copies-quota", takes=QuotaBody, answer=TenantAnswer
)
def set_copies_quota(tx: Tx, body: Json, tenant_id: TenantId) -> Tenant:
    """Say what the tenant's copies may take at once; one beyond it is refused when ordered."""
    return tenants.set_copies_quota(tx, tenant_id, body["copies_bytes"])


@operation(blueprint, "GET /tenants/<id:tenant_id>/keys", answer=list_of(KeyAnswer))
def list_keys(tx: Tx, tenant_id: TenantId) -> Json:
    """The public keys that the tenant pins, to verify its log and certificates by itself."""
    return whole(enrolling.list_keys(tx, tenant_id))


@operation(blueprint, "POST /tenants/<id:tenant_id>/end-everything", answer=EndedAnswer)
def end_everything(tx: Tx, tenant_id: TenantId) -> Json:
    """End every grant, login and copy of the tenant, now."""
    return {"ended": lifecycle.end_all_of_tenant(tx, tenant_id, the_broker().queue)}


@operation(blueprint, "GET /keys/intake", answer=IntakeAnswer)
def get_intake_key(tx: Tx) -> Json:
    """The public key to which a client seals the password of a server that it registers."""
    public = tenants.find_published_key(tx, INTAKE_KEY)
    if public is None:
        raise Unavailable("no worker has published the public keys yet; start one, then try again")
    return {"algorithm": "HPKE: X25519, HKDF-SHA256, AES-256-GCM", "public": public}
