"""What is taken out of use: live databases, test servers, and a customer who leaves."""

from __future__ import annotations

from flask import Response
from marshmallow import fields

from broker import removing
from broker.api.operations import check_scope, new_blueprint, operation, signed_in
from broker.api.shapes import Answer, Sent, as_file
from broker.db import Json
from broker.departures import announcing, closing, exporting
from broker.departures.model import DepartureView
from broker.ids import TenantId
from broker.tx import Tx

blueprint = new_blueprint("leaving", "What is taken out of use")


class DepartureBody(Sent):
    leaves_at = fields.AwareDateTime(
        load_default=None,
        allow_none=True,
        metadata={"description": "from now, or 30 days when the vendor says it, to a year"},
    )


class DepartureAnswer(Answer):
    id = fields.String()
    tenant_id = fields.String()
    state = fields.String(
        metadata={"description": "`announced`, `closing`, `closed`, `erasing` or `erased`"}
    )
    side = fields.String(metadata={"description": "who announced it, and alone takes it back"})
    announced_at = fields.AwareDateTime()
    leaves_at = fields.AwareDateTime()
    closed_at = fields.AwareDateTime(allow_none=True)
    erases_after = fields.AwareDateTime(
        allow_none=True, metadata={"description": "null while nobody confirmed the legal term"}
    )
    erased_at = fields.AwareDateTime(allow_none=True)
    alive = fields.List(
        fields.String(), metadata={"description": "ids that keep it from being closed"}
    )


@operation(blueprint, "GET /tenants/<id:tenant_id>/departure", answer=DepartureAnswer)
def get_departure(tx: Tx, tenant_id: TenantId) -> DepartureView:
    """How far the leaving of a customer is."""
    return announcing.read(tx, tenant_id)


@operation(
    blueprint,
    "POST /tenants/<id:tenant_id>/departure",
    takes=DepartureBody,
    answer=DepartureAnswer,
    status=201,
)
def announce_departure(tx: Tx, body: Json, tenant_id: TenantId) -> DepartureView:
    """Say when a customer leaves: everything of it ends then, and nothing begins any more."""
    return announcing.announce(tx, tenant_id, body["leaves_at"])


@operation(blueprint, "POST /tenants/<id:tenant_id>/departure/cancel", answer=DepartureAnswer)
def cancel_departure(tx: Tx, tenant_id: TenantId) -> DepartureView:
    """Take it back, until its day."""
    return announcing.cancel(tx, tenant_id)


@operation(blueprint, "POST /tenants/<id:tenant_id>/departure/close", answer=DepartureAnswer)
def close_departure(tx: Tx, tenant_id: TenantId) -> DepartureView:
    """Close it without waiting for the sweep; refused while something is alive."""
    closing.close_by_click(tx, tenant_id)
    return announcing.read(tx, tenant_id)


@operation(
    blueprint,
    "GET /tenants/<id:tenant_id>/export",
    answer={"type": "string", "format": "binary"},
    media=["application/zip"],
)
def export_tenant(tx: Tx, tenant_id: TenantId) -> Response:
    """All that is held of the customer, but its log, which is a file of its own."""
    check_scope(signed_in(), None)  # not by a limited token, though it reads
    return as_file(exporting.export(tx, tenant_id), "application/zip", f"{tenant_id}.zip")


@operation(blueprint, "DELETE /databases/<id:database_id>", status=204)
def remove_database(tx: Tx, database_id: str) -> None:
    """Take a live database out of use; refused while anything of ours is there."""
    removing.remove_database(tx, database_id)


@operation(blueprint, "DELETE /servers/<id:server_id>", status=204)
def remove_server(tx: Tx, server_id: str) -> None:
    """Take a test server out of use; refused while a copy, or a look at one, is there."""
    removing.remove_server(tx, server_id)
