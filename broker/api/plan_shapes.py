"""What a plan looks like in answers: of a request, and of a standing approval."""

from __future__ import annotations

from marshmallow import fields, validate

from broker.api.shapes import Answer, Sent


class PlanQuery(Sent):
    which = fields.String(load_default="asked", validate=validate.OneOf(["asked", "given"]))


class ColumnAnswer(Answer):
    name = fields.String()
    type = fields.String()
    kept = fields.Boolean()
    raw = fields.Boolean(
        metadata={"description": "in clear because it was asked by name; the policy masks it"}
    )
    mask = fields.String(attribute="fate.mask")
    label = fields.String(attribute="fate.label")
    why = fields.String(attribute="fate.why")
    obstacles = fields.List(fields.String())
    fallback = fields.String(metadata={"description": "the mask if you want it masked; may be ''"})
    paths = fields.List(
        fields.List(fields.String()),
        attribute="fate.paths",
        metadata={"description": "of JSON: what stays, each path with `keep` or a mask"},
    )


class RestrictionAnswer(Answer):
    column = fields.String()
    values = fields.List(fields.String(), metadata={"description": "it is one of these"})
    days = fields.Integer(metadata={"description": "or of the last so many days; 0: values count"})


class TableAnswer(Answer):
    schema = fields.String()
    name = fields.String()
    rows = fields.Boolean(metadata={"description": "false: structure only, `note` says why"})
    note = fields.String()
    partition_of = fields.String()
    estimated_rows = fields.Integer()
    size_bytes = fields.Integer()
    whose = fields.String(
        metadata={"description": "which rows, where others have some too; sizes are 0 then"}
    )
    rows_only = fields.List(
        fields.Nested(RestrictionAnswer),
        attribute="only",
        metadata={"description": "which rows a decision left: those for which all of these hold"},
    )
    columns = fields.List(fields.Nested(ColumnAnswer))


class LiteralAnswer(Answer):
    kind = fields.String()
    where = fields.String()
    text = fields.String()


class PlatformPlanAnswer(Answer):
    platform = fields.String(attribute="id")
    platform_name = fields.String(attribute="name")
    audience = fields.String()


class StoragePlanAnswer(Answer):
    storage = fields.String(attribute="id")
    storage_name = fields.String(attribute="name")
    bucket = fields.String()
    prefix = fields.String()


class CopyPlanAnswer(Answer):
    server = fields.String(metadata={"description": "shared, or dedicated: of its own"})
    residue = fields.String(metadata={"description": "what may remain after its destruction"})
    develop = fields.Boolean(
        metadata={"description": "logins on the copy may change its definitions too"}
    )


class PlanTables(Answer):
    kind = fields.String(metadata={"description": "what it shows"})
    remarks = fields.List(fields.String(), attribute="plan.remarks")
    tables = fields.List(fields.Nested(TableAnswer), attribute="plan.tables")


class PlanAnswer(PlanTables):
    grant = fields.String(attribute="grant_id")
    category = fields.String(metadata={"description": "of the request: what it is about"})
    digest = fields.String(metadata={"description": "send it as `shown_digest` to approve"})
    platform = fields.Nested(
        PlatformPlanAnswer,
        attribute="plan.platform",
        allow_none=True,
        metadata={"description": "the platform that tokens would let in to, to read as support"},
    )
    storage = fields.Nested(
        StoragePlanAnswer,
        attribute="plan.storage",
        allow_none=True,
        metadata={"description": "the objects that sessions would list and read"},
    )
    copy = fields.Nested(
        CopyPlanAnswer, attribute="plan.copy", metadata={"description": "what a copy is"}
    )
    literals = fields.List(
        fields.Nested(LiteralAnswer),
        metadata={"description": "definitions that hold values; for the tenant's people alone"},
    )
