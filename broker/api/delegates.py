"""Who decides for an admin who is away: naming a delegate, listing, taking back."""

from __future__ import annotations

from marshmallow import fields

from broker.api.operations import new_blueprint, operation
from broker.api.shapes import Answer, Sent, identity, list_of, whole
from broker.db import Json
from broker.grants import delegates
from broker.grants.delegates import Absence
from broker.ids import TenantId
from broker.tx import Tx

blueprint = new_blueprint("delegates", "Delegates of admins")
_WITHIN = f"within {delegates.LONGEST.days} days"


class DelegateBody(Sent):
    """The one who asks is the admin who will be away."""

    delegate = identity("psn", metadata={"description": "with a role in the same organisation"})
    starts_at = fields.AwareDateTime(
        load_default=None, allow_none=True, metadata={"description": "null: at once"}
    )
    ends_at = fields.AwareDateTime(required=True, metadata={"description": _WITHIN})


class DelegationAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    giver = fields.String(attribute="giver_id")
    giver_name = fields.String(attribute="giver")
    delegate = fields.String(attribute="delegate_id")
    delegate_name = fields.String(attribute="delegate")
    named_at = fields.AwareDateTime()
    starts_at = fields.AwareDateTime()
    ends_at = fields.AwareDateTime()
    ended_at = fields.AwareDateTime(allow_none=True)
    state = fields.String(
        metadata={
            "description": "`coming`, `standing`, `over`, `ended` (taken back), or `void`: one of "
            "the two has lost the role that it rests on"
        }
    )


_LIST = list_of(DelegationAnswer)


@operation(blueprint, "GET /tenants/<id:tenant_id>/delegates", answer=_LIST)
def list_delegates(tx: Tx, tenant_id: TenantId) -> Json:
    """Who decides for whom, newest first; those that are over too."""
    return whole(delegates.list_delegations(tx, tenant_id))


@operation(
    blueprint,
    "POST /tenants/<id:tenant_id>/delegates",
    takes=DelegateBody,
    answer=_LIST,
    status=201,
)
def name_delegate(tx: Tx, body: Json, tenant_id: TenantId) -> Json:
    """Name who decides for you, until when; the answer is the list, newest first."""
    absence = Absence(body["delegate"], body["ends_at"], body["starts_at"])
    delegates.name(tx, tenant_id, absence)
    return whole(delegates.list_delegations(tx, tenant_id))


@operation(blueprint, "POST /delegates/<id:delegation_id>/end", answer=_LIST)
def end_delegation(tx: Tx, delegation_id: str) -> Json:
    """Take it back at once: an admin's, or the delegate's own, to do."""
    tenant_id = delegates.end(tx, delegation_id)
    return whole(delegates.list_delegations(tx, tenant_id))
