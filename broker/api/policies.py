"""How a tenant approves: its policy, and changing it."""

from __future__ import annotations

from marshmallow import fields, validate

from broker import lifecycle
from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import Answer, Sent, identity, seconds
from broker.db import Json
from broker.grants import approval_policy
from broker.grants.approval_policy import BREAK_GLASS_DEFAULT_S, ApprovalPolicy, PolicyView
from broker.ids import TenantId
from broker.tx import Tx

blueprint = new_blueprint("policies", "Approval policies")
_APPROVALS = {"description": "how many admins must approve, 1 to 3"}
_APPROVERS = {"description": "ids of the admins who may; none: every admin"}

_DEDICATED_ONLY = {"description": "every copy lives on a server of its own, on an encrypted volume"}
_MASKED_ONLY = {"description": "nobody may ask for columns in clear"}
_BREAK_GLASS = {"description": "two leads of the vendor may let one in without asking"}

_REMINDERS = {"description": "at which percent of its time a request is told of again"}
_ESCALATE = {"description": "then `escalate_to` are told and may decide, once; null: never"}
_ESCALATE_TO = {"description": "ids of admins; none: every admin"}
_LISTS = ("approvers", "reminders", "escalate_to")


class PolicyBody(Sent):
    """What is left out or null leaves the broker's own limit."""

    approvals = fields.Integer(
        strict=True, load_default=1, validate=validate.Range(1, 3), metadata=_APPROVALS
    )
    approvers = fields.List(
        identity("psn"), load_default=[], validate=validate.Length(0, 100), metadata=_APPROVERS
    )
    live_max_s = seconds(load_default=None, allow_none=True)
    copy_max_s = seconds(load_default=None, allow_none=True)
    unanswered_s = seconds(load_default=None, allow_none=True)
    second_person = fields.Boolean(
        load_default=False, metadata={"description": "a change needs another admin"}
    )
    reminders = fields.List(
        fields.Integer(strict=True, validate=validate.Range(1, 99)),
        load_default=list(approval_policy.REMINDERS),
        validate=validate.Length(0, 5),
        metadata=_REMINDERS,
    )
    escalate_after_s = seconds(load_default=None, allow_none=True, metadata=_ESCALATE)
    escalate_to = fields.List(
        identity("psn"), load_default=[], validate=validate.Length(0, 100), metadata=_ESCALATE_TO
    )
    masked_only = fields.Boolean(load_default=False, metadata=_MASKED_ONLY)
    dedicated_only = fields.Boolean(load_default=False, metadata=_DEDICATED_ONLY)
    break_glass = fields.Boolean(load_default=False, metadata=_BREAK_GLASS)
    break_glass_max_s = seconds(load_default=BREAK_GLASS_DEFAULT_S)


class PolicyFields(Answer):
    approvals = fields.Integer(metadata=_APPROVALS)
    approvers = fields.List(fields.String(), metadata=_APPROVERS)
    live_max_s = fields.Integer(allow_none=True)
    copy_max_s = fields.Integer(allow_none=True)
    unanswered_s = fields.Integer(allow_none=True)
    second_person = fields.Boolean()
    reminders = fields.List(fields.Integer(), metadata=_REMINDERS)
    escalate_after_s = fields.Integer(allow_none=True, metadata=_ESCALATE)
    escalate_to = fields.List(fields.String(), metadata=_ESCALATE_TO)
    masked_only = fields.Boolean(metadata=_MASKED_ONLY)
    dedicated_only = fields.Boolean(metadata=_DEDICATED_ONLY)
    break_glass = fields.Boolean(metadata=_BREAK_GLASS)
    break_glass_max_s = fields.Integer()


class PolicyAnswer(Answer):
    tenant = fields.String(attribute="tenant_id")
    version = fields.Integer(metadata={"description": "0: the broker's own, one admin"})
    policy = fields.Nested(PolicyFields)
    proposed_version = fields.Integer(allow_none=True)
    proposed = fields.Nested(PolicyFields, allow_none=True)
    proposed_by = fields.String(allow_none=True)


class ConfirmBody(Sent):
    version = fields.Integer(required=True, strict=True, validate=validate.Range(1, 2**31))


@operation(
    blueprint, "GET /tenants/<id:tenant_id>/approval-policy", answer=PolicyAnswer, tagged=True
)
def get_approval_policy(tx: Tx, tenant_id: TenantId) -> PolicyView:
    """The policy in force, and the one that waits for another admin."""
    return approval_policy.get_view(tx, tenant_id)


@operation(
    blueprint,
    "POST /tenants/<id:tenant_id>/approval-policy",
    takes=PolicyBody,
    answer=PolicyAnswer,
    edits=get_approval_policy,
)
def set_approval_policy(tx: Tx, body: Json, tenant_id: TenantId) -> PolicyView:
    """Change the policy, or propose it where another admin must confirm. It holds for requests to
    come, and what was given that it would not have allowed ends.
    """
    policy = ApprovalPolicy(**{**body, **{name: tuple(body[name]) for name in _LISTS}})
    lifecycle.change_policy(tx, tenant_id, policy, the_broker().queue)
    return approval_policy.get_view(tx, tenant_id)


@operation(
    blueprint,
    "POST /tenants/<id:tenant_id>/approval-policy/confirm",
    takes=ConfirmBody,
    answer=PolicyAnswer,
    edits=get_approval_policy,
)
def confirm_approval_policy(tx: Tx, body: Json, tenant_id: TenantId) -> PolicyView:
    """Agree, as another admin, to the change that was proposed."""
    lifecycle.confirm_policy(tx, tenant_id, body["version"], the_broker().queue)
    return approval_policy.get_view(tx, tenant_id)
