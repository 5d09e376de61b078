"""Tenants' objects in buckets, and sessions on them.

A session is sealed by a worker to the key that the client sent: this process can't read it (G11).
"""

from __future__ import annotations

from marshmallow import fields, validate

from broker import lifecycle, people, storages
from broker.api.leases import LeaseAnswer
from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import Answer, Base64, Sent, TenantQuery, identity, list_of, text, whole
from broker.db import Json
from broker.errors import Conflict
from broker.grants import queries, sessions
from broker.grants.queries import LeaseView
from broker.ids import TenantId
from broker.storages import Storage
from broker.tx import Tx

blueprint = new_blueprint("storages", "Tenants' objects, and sessions on them")


class StorageBody(Sent):
    tenant = identity("tnt")
    name = text(200)
    bucket = text(63)
    prefix = text(1000, metadata={"description": "ends in /; no other tenant's lies in it"})


class StorageAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    name = fields.String()
    bucket = fields.String()
    prefix = fields.String()
    registered_at = fields.AwareDateTime()


class SessionBody(Sent):
    public = Base64(
        required=True,
        validate=validate.Length(32, 32),
        metadata={"description": "X25519 key, made for this session, that it is sealed to"},
    )


class SealedAnswer(Answer):
    sealed = Base64(metadata={"description": "HPKE; opens with the key that was sent alone"})


@operation(blueprint, "GET /storages", query=TenantQuery, answer=list_of(StorageAnswer))
def list_storages(tx: Tx, query: Json) -> Json:
    """The objects of a tenant that may be asked for."""
    return whole(storages.list_storages(tx, query["tenant"]))


@operation(blueprint, "POST /storages", takes=StorageBody, answer=StorageAnswer, status=201)
def register_storage(tx: Tx, body: Json) -> Storage:
    """Register a bucket and a prefix as a tenant's."""
    tenant_id = TenantId(body["tenant"])
    made = storages.register(tx, tenant_id, body["name"], body["bucket"], body["prefix"])
    return storages.get_storage(tx, made)


@operation(blueprint, "GET /storages/<id:storage_id>", answer=StorageAnswer)
def get_storage(tx: Tx, storage_id: str) -> Storage:
    """The objects of a tenant that may be asked for, of one registration."""
    row = storages.get_storage(tx, storage_id)
    people.check(tx, "storage:read", TenantId(row.tenant_id))
    return row


@operation(blueprint, "DELETE /storages/<id:storage_id>", status=204)
def remove_storage(tx: Tx, storage_id: str) -> None:
    """Take a storage out of use; requests and grants on it end, with all that rests on them."""
    lifecycle.remove_storage(tx, storage_id, the_broker().queue)


@operation(
    blueprint,
    "POST /grants/<id:grant_id>/sessions",
    takes=SessionBody,
    answer=LeaseAnswer,
    status=202,
    scope="lease:issue",
)
def ask_session(tx: Tx, body: Json, grant_id: str) -> LeaseView:
    """Ask for a session on the objects that a grant names: a lease; wait until it is issued."""
    lease_id = sessions.ask(tx, grant_id, body["public"], the_broker().queue)
    if the_broker().settings.sts.role is None:
        raise Conflict("this broker has no token service; its operator sets BROKER_STS__ROLE")
    return queries.get_lease_view(tx, lease_id)


@operation(
    blueprint,
    "POST /leases/<id:lease_id>/session",
    answer=SealedAnswer,
    secret=True,
    scope="lease:issue",
)
def fetch_session(tx: Tx, lease_id: str) -> Json:
    """The session, sealed to the key that was sent; once, then it is forgotten."""
    return {"sealed": sessions.fetch(tx, lease_id)}
