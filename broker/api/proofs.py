"""A tenant's log for programs that verify it: checkpoints, tiles, proofs (C2SP tlog-tiles).

`/tenants/<id>/log` is the prefix that the specification speaks of; its readers send a token.
"""

from __future__ import annotations

from dataclasses import asdict

from flask import Response
from marshmallow import fields, validate

from broker import enrolling, people
from broker.api.operations import new_blueprint, operation
from broker.api.shapes import Answer, Sent
from broker.audit import mailing, proofs
from broker.audit.epochs import find_slot
from broker.audit.proof_text import format_proof
from broker.audit.proofs import Consistency
from broker.audit.tiles import WIDTH, parse_path
from broker.db import Json
from broker.errors import NOT_THERE, NotFound
from broker.ids import TenantId
from broker.tx import Tx

blueprint = new_blueprint("proofs", "Checkpoints, tiles and proofs of a tenant's log")
_LARGEST = 2**53 - 1
_TEXT = {"type": "string"}
_BYTES = {"type": "string", "format": "binary"}


def _position(*, required: bool = False) -> fields.Integer:
    return fields.Integer(required=required, validate=validate.Range(0, _LARGEST))


class CheckpointQuery(Sent):
    size = _position()


class ProofQuery(CheckpointQuery):
    index = _position(required=True)


class ConsistencyQuery(CheckpointQuery):
    old = _position(required=True)


class ConsistencyAnswer(Answer):
    old = fields.Integer()
    size = fields.Integer()
    hashes = fields.List(fields.String())
    checkpoint = fields.String()


@operation(
    blueprint,
    "GET /tenants/<id:tenant_id>/log/checkpoint",
    query=CheckpointQuery,
    answer=_TEXT,
    media=["text/plain"],
)
def get_checkpoint(tx: Tx, query: Json, tenant_id: TenantId) -> Response:
    """The last signed checkpoint of the log, or that of `size` entries."""
    return _text(proofs.get_checkpoint(tx, tenant_id, query.get("size")))


@operation(blueprint, "POST /tenants/<id:tenant_id>/log/checkpoint/mail", status=204)
def mail_checkpoint(tx: Tx, tenant_id: TenantId) -> None:
    """Send the last signed checkpoint to oneself by mail: kept elsewhere, it catches a fork."""
    mailing.mail_checkpoint(tx, tenant_id)


@operation(
    blueprint,
    "GET /tenants/<id:tenant_id>/log/tile/<path:tile>",
    answer=_BYTES,
    media=["application/octet-stream"],
)
def get_tile(tx: Tx, tenant_id: TenantId, tile: str) -> Response:
    """A tile: `<level>/<number>[.p/<width>]` of hashes, `entries/…` of the entries themselves."""
    asked = parse_path(tile)
    answer = Response(proofs.get_tile(tx, tenant_id, asked), mimetype="application/octet-stream")
    if asked.width == WIDTH:  # it never changes
        answer.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    return answer


@operation(
    blueprint,
    "GET /tenants/<id:tenant_id>/log/proof",
    query=ProofQuery,
    answer=_TEXT,
    media=["text/plain"],
)
def prove_entry(tx: Tx, query: Json, tenant_id: TenantId) -> Response:
    """That entry `index` stands in the log: a C2SP tlog-proof, with the entry as its `extra`."""
    proof = proofs.prove_entry(tx, tenant_id, query["index"], query.get("size"))
    return _text(format_proof(proof))


@operation(
    blueprint,
    "GET /tenants/<id:tenant_id>/log/consistency",
    query=ConsistencyQuery,
    answer=ConsistencyAnswer,
)
def prove_consistency(tx: Tx, query: Json, tenant_id: TenantId) -> Consistency:
    """That the log only grew since it had `old` entries (RFC 9162, 2.1.4)."""
    return proofs.prove_consistency(tx, tenant_id, query["old"], query.get("size"))


class SlotAnswer(Answer):
    root = fields.String(metadata={"description": "the name of the root log"})
    slot = fields.Integer(attribute="number")
    digest = fields.String(metadata={"description": "SHA-256 of the slot's key, hexadecimal"})
    cosigner = fields.String(
        allow_none=True,
        metadata={"description": "the key that cosigns the root log with ML-DSA-44, if one does"},
    )


@operation(blueprint, "GET /tenants/<id:tenant_id>/log/slot", answer=SlotAnswer)
def get_slot(tx: Tx, tenant_id: TenantId) -> Json:
    """The one slot of the root log in which this log stands, as it was told at enrolment."""
    people.check(tx, "log:read", tenant_id)
    slot = find_slot(tx, tenant_id)
    if slot is None:
        raise NotFound(NOT_THERE)
    cosigner = enrolling.find_cosigner(tx, slot.root)
    return asdict(slot) | {"cosigner": cosigner.format() if cosigner else None}


def _text(content: str) -> Response:
    return Response(content, mimetype="text/plain")
