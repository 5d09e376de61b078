"""Copies and the certificates of their destruction."""

from __future__ import annotations

from flask import Response
from marshmallow import fields, validate

from broker import lifecycle
from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import (
    Answer,
    PageQuery,
    Sent,
    WaitQuery,
    identity,
    list_of,
    page,
    read_page,
    sorting,
    states,
)
from broker.api.waiting import wait_for
from broker.audit.anchoring import find_stamp
from broker.db import Json
from broker.errors import NOT_THERE, NotFound
from broker.snapshots import certificates, ordering, queries
from broker.snapshots.attesting import SENTENCES
from broker.snapshots.certificate_pdf import make_pdf
from broker.snapshots.certificate_texts import LANGUAGES
from broker.snapshots.queries import CertificateView, SnapshotView
from broker.tx import Tx

blueprint = new_blueprint("copies", "Copies and certificates")
_STATES = ["ordered", "copying", "ready", "condemned", "destroyed"]


class SnapshotQuery(PageQuery):
    sort = sorting("ordered_at")
    grant = identity("grt", required=False)
    requester = identity("psn", required=False)
    state = states(_STATES)


class OrderBody(Sent):
    grant = identity("grt")
    server = identity("srv", required=False)


class AttestBody(Sent):
    took = fields.String(
        required=True,
        validate=validate.OneOf(tuple(SENTENCES)),
        metadata={
            "description": "`nothing`; something, all `erased` since; or something is `kept`"
        },
    )


class SnapshotAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    tenant_name = fields.String()
    grant = fields.String(attribute="grant_id")
    database = fields.String(attribute="database_id")
    server = fields.String(attribute="server_id")
    requester = fields.String(attribute="requester_id")
    requester_name = fields.String(attribute="requester")
    state = fields.String()
    state_at = fields.AwareDateTime()
    being_reset = fields.Boolean()
    plan_digest = fields.String()
    ordered_at = fields.AwareDateTime()
    ready_at = fields.AwareDateTime(allow_none=True)
    ends_at = fields.AwareDateTime()
    condemned_at = fields.AwareDateTime(allow_none=True)
    condemned_why = fields.String(allow_none=True)
    destroyed_at = fields.AwareDateTime(allow_none=True)
    held_until = fields.AwareDateTime(
        allow_none=True, metadata={"description": "end of the legal hold in force, if any"}
    )
    progress = fields.Dict(metadata={"description": "`step`, `tables_done`, `tables`, `bytes`"})
    report = fields.Dict(
        allow_none=True,
        metadata={
            "description": "what differs from production: `rows` by table, `structure_only` tables "
            "with why, `masked` columns by table, what was `left_out`, `drift` since the approval, "
            "`differs` in sentences, and how many `canaries` were searched for"
        },
    )
    attempts = fields.Integer()
    stuck_since = fields.AwareDateTime(allow_none=True)
    stuck_reason = fields.String(allow_none=True)
    attested = fields.String(
        allow_none=True,
        metadata={"description": "what its requester said last that they took out of it"},
    )
    dedicated = fields.Boolean(
        metadata={"description": "on a server of its own, on an encrypted volume"}
    )
    needed_bytes = fields.Integer(
        metadata={"description": "room reserved on its test server; 0 where sizes are not told"}
    )
    develop = fields.Boolean(
        metadata={"description": "its logins may change its definitions too, where asked so"}
    )
    certificate = fields.String(attribute="certificate_id", allow_none=True)


class CertificateQuery(PageQuery):
    sort = sorting("issued_at")
    state = states(queries.VALIDITIES)


class CertificateAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    snapshot = fields.String(attribute="snapshot_id")
    issued_at = fields.AwareDateTime()
    revoked_at = fields.AwareDateTime(
        allow_none=True, metadata={"description": "when it was proved wrong, if it was"}
    )


class StatementAnswer(CertificateAnswer):
    statement = fields.Function(
        lambda row: certificates.read_statement(row.envelope), metadata={"type": "object"}
    )


@operation(blueprint, "GET /snapshots", query=SnapshotQuery, answer=list_of(SnapshotAnswer))
def list_snapshots(tx: Tx, query: Json) -> Json:
    """Copies that I may see."""
    found = queries.list_snapshots(
        tx,
        query.get("tenant"),
        grant_id=query.get("grant"),
        requester_id=query.get("requester"),
        states=query["state"],
        page=read_page(query),
    )
    return page(found, query)


@operation(
    blueprint,
    "POST /snapshots",
    takes=OrderBody,
    answer=SnapshotAnswer,
    status=202,
    scope="snapshot:order",
)
def order_snapshot(tx: Tx, body: Json) -> SnapshotView:
    """Order a copy under a grant; wait until it is `ready` with `?wait=` on it."""
    snapshot_id = ordering.order(tx, body["grant"], body.get("server"), the_broker().queue)
    return queries.get_snapshot_view(tx, snapshot_id)


@operation(
    blueprint,
    "GET /snapshots/<id:snapshot_id>",
    query=WaitQuery,
    answer=SnapshotAnswer,
    transaction=False,
)
def get_snapshot(query: Json, snapshot_id: str) -> SnapshotView:
    """One copy; `wait` waits until it is ready, certified as destroyed, or stuck with a reason."""
    return wait_for(
        query["wait"], lambda tx: queries.get_snapshot_view(tx, snapshot_id), _is_settled
    )


def _is_settled(snapshot: SnapshotView) -> bool:
    ready = snapshot.state == "ready" and not snapshot.being_reset
    done = ready or snapshot.certificate_id is not None
    return done or snapshot.stuck_reason is not None


@operation(
    blueprint,
    "POST /snapshots/<id:snapshot_id>/reset",
    answer=SnapshotAnswer,
    status=202,
    scope="snapshot:order",
)
def reset_snapshot(tx: Tx, snapshot_id: str) -> SnapshotView:
    """Rebuild the sandbox from the sealed artifact; its logins end now, ask for a new one then."""
    ordering.ask_reset(tx, snapshot_id, the_broker().queue)
    return queries.get_snapshot_view(tx, snapshot_id)


@operation(
    blueprint,
    "POST /snapshots/<id:snapshot_id>/attest",
    takes=AttestBody,
    answer=SnapshotAnswer,
    status=202,
    scope="snapshot:order",
)
def attest_snapshot(tx: Tx, body: Json, snapshot_id: str) -> SnapshotView:
    """I am done: say what I took out of my copy by hand; one that lives is condemned."""
    lifecycle.attest(tx, snapshot_id, body["took"], the_broker().queue)
    return queries.get_snapshot_view(tx, snapshot_id)


@operation(
    blueprint,
    "POST /snapshots/<id:snapshot_id>/destroy",
    answer=SnapshotAnswer,
    status=202,
    scope="snapshot:order",
)
def destroy_snapshot(tx: Tx, snapshot_id: str) -> SnapshotView:
    """Condemn a copy: there is no way back, and it is retried until looks find nothing."""
    lifecycle.condemn_by_click(tx, snapshot_id, the_broker().queue)
    return queries.get_snapshot_view(tx, snapshot_id)


@operation(
    blueprint, "GET /certificates", query=CertificateQuery, answer=list_of(CertificateAnswer)
)
def list_certificates(tx: Tx, query: Json) -> Json:
    """Certificates that I may see."""
    found = queries.list_certificates(
        tx, query.get("tenant"), states=query["state"], page=read_page(query)
    )
    return page(found, query)


@operation(blueprint, "GET /certificates/<id:certificate_id>", answer=StatementAnswer)
def get_certificate(tx: Tx, certificate_id: str) -> CertificateView:
    """One certificate with what it states; the signed form is its envelope."""
    return queries.get_certificate_view(tx, certificate_id)


@operation(blueprint, "GET /certificates/<id:certificate_id>/envelope", answer={"type": "object"})
def get_envelope(tx: Tx, certificate_id: str) -> Response:
    """The signed envelope (DSSE), byte for byte as it was signed."""
    row = certificates.check_readable(tx, certificate_id)
    return _file(row.envelope, "application/json", f"{row.id}.dsse.json")


class PdfQuery(Sent):
    lang = fields.String(load_default="en", validate=validate.OneOf(LANGUAGES))


@operation(
    blueprint,
    "GET /certificates/<id:certificate_id>/pdf",
    query=PdfQuery,
    answer={"type": "string", "format": "binary"},
    media=["application/pdf"],
)
def get_pdf(tx: Tx, query: Json, certificate_id: str) -> Response:
    """The certificate for reading and filing, with names; what is signed is the envelope."""
    vendor = the_broker().settings.vendor.name
    shown = queries.get_shown_certificate(tx, certificate_id, vendor)
    name = f"{certificate_id}.{query['lang']}.pdf"
    return _file(make_pdf(shown, query["lang"]), "application/pdf", name)


@operation(
    blueprint,
    "GET /certificates/<id:certificate_id>/timestamp",
    answer={"type": "string", "format": "binary"},
    media=["application/timestamp-reply"],
)
def get_timestamp(tx: Tx, certificate_id: str) -> Response:
    """A third party's time for the envelope (RFC 3161); none, or none yet: not found."""
    row = certificates.check_readable(tx, certificate_id)
    stamp = find_stamp(tx, row.id)
    if stamp is None:
        raise NotFound(NOT_THERE)
    return _file(stamp.response, "application/timestamp-reply", f"{row.id}.tsr")


@operation(blueprint, "GET /certificates/<id:certificate_id>/revocation", answer={"type": "object"})
def get_revocation(tx: Tx, certificate_id: str) -> Response:
    """The signed revocation (DSSE) of a certificate that was proved wrong; none: not found."""
    row = certificates.check_readable(tx, certificate_id)
    revocation = certificates.find_revocation(tx, row.id)
    if revocation is None:
        raise NotFound(NOT_THERE)
    return _file(revocation.envelope, "application/json", f"{row.id}.revocation.dsse.json")


def _file(content: bytes, mimetype: str, name: str) -> Response:
    answer = Response(content, mimetype=mimetype)
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer
