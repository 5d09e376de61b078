"""What stays: certificates of destruction, and the tenant's log with its bundle to verify."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from flask import Blueprint, Response, current_app, render_template, request
from flask.typing import ResponseReturnValue

from broker import enrolling, people, tenants
from broker.audit.anchoring import find_stamp
from broker.audit.export import begin_export, stream
from broker.audit.formats import FORMATS, media_type, write_entries
from broker.audit.proof_text import format_proof
from broker.audit.proofs import prove_entry
from broker.audit.queries import get_log_view, view_chosen
from broker.audit.selecting import select_entries
from broker.errors import NOT_THERE, Denied, Invalid, NotFound
from broker.ids import TenantId
from broker.paging import MAX_PAGE, Page
from broker.snapshots import certificates
from broker.snapshots.attesting import SENTENCES
from broker.snapshots.certificate_pdf import make_pdf
from broker.snapshots.certificate_texts import LANGUAGES
from broker.snapshots.queries import (
    get_certificate_view,
    get_shown_certificate,
    get_snapshot_view,
    list_certificates,
)
from broker.tx import Tx
from broker.web.log_filter import asked_of, read_wanted
from broker.web.session import begin, the_broker

pages = Blueprint("records", __name__)
_ENTRIES = 50
_IN_A_FILE = 100_000


@pages.get("/certificates")
def list_all() -> ResponseReturnValue:
    with begin() as tx:
        rows = list_certificates(tx, page=Page(limit=MAX_PAGE))
    return render_template("console/certificates.html", certificates=rows)


@pages.get("/certificates/<id:certificate_id>")
def show_certificate(certificate_id: str) -> ResponseReturnValue:
    """People and names are joined here, for reading: the signed statement holds ids alone."""
    with begin() as tx:
        row = get_certificate_view(tx, certificate_id)
        copy = get_snapshot_view(tx, row.snapshot_id)
        database = _name_of_database(tx, copy.database_id)
        stamp = find_stamp(tx, row.id)
    return render_template(
        "console/certificate.html",
        id=row.id,
        revoked_at=row.revoked_at,
        copy=copy,
        database=database,
        statement=certificates.read_statement(row.envelope),
        choices=SENTENCES,
        digest=hashlib.sha256(row.envelope).hexdigest(),
        stamped_at=stamp.said_at if stamp is not None else None,
    )


def _name_of_database(tx: Tx, database_id: str) -> str:
    """A certificate outlives the registration of its database."""
    try:
        return tenants.get_database(tx, database_id).name
    except NotFound:
        return f"{database_id}, no longer registered"


@pages.get("/certificates/<id:certificate_id>/envelope")
def download_certificate(certificate_id: str) -> Response:
    with begin() as tx:
        row = certificates.check_readable(tx, certificate_id)
    return _file(row.envelope, f"{row.id}.dsse.json")


@pages.get("/certificates/<id:certificate_id>/timestamp")
def download_timestamp(certificate_id: str) -> Response:
    with begin() as tx:
        row = certificates.check_readable(tx, certificate_id)
        stamp = find_stamp(tx, row.id)
    if stamp is None:
        raise NotFound(NOT_THERE)
    return _file(stamp.response, f"{row.id}.tsr", "application/timestamp-reply")


@pages.get("/certificates/<id:certificate_id>/pdf")
def download_pdf(certificate_id: str) -> Response:
    asked = request.args.get("lang", "")
    language = asked if asked in LANGUAGES else LANGUAGES[0]
    with begin() as tx:
        vendor = current_app.extensions["broker"].settings.vendor.name
        shown = get_shown_certificate(tx, certificate_id, vendor)
    return _file(make_pdf(shown, language), f"{certificate_id}.{language}.pdf", "application/pdf")


@pages.get("/log")
def show_log() -> ResponseReturnValue:
    before = request.args.get("before", type=_position)
    with begin() as tx:
        tenant_id = _chosen_tenant(tx)
        log = get_log_view(tx, tenant_id, before=before, limit=_ENTRIES)
        own = [(tenant.id, tenant.name) for tenant in tenants.list_tenants(tx)]
    return render_template("console/log.html", log=log, tenant_id=tenant_id, tenants=own)


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError(text)
    return int(text)


@pages.get("/log/events")
def find_events() -> ResponseReturnValue:
    """What was chosen by kind, person, ticket and time; the oldest first, a page at a time."""
    after = request.args.get("after", 0, type=_position)
    with begin() as tx:
        tenant_id, wanted = _chosen_tenant(tx), read_wanted(request.args)
        found = select_entries(tx, tenant_id, wanted, after=after, most=_ENTRIES)
        entries = view_chosen(tx, found.chosen)
    more = found.looked if len(entries) == _ENTRIES else None
    return render_template(
        "console/log_events.html",
        entries=entries,
        tenant_id=tenant_id,
        asked=asked_of(request.args),
        more=more,
    )


@pages.get("/log/events/file")
def download_events() -> Response:
    form = request.args.get("format", FORMATS[0])
    if form not in FORMATS:
        raise Invalid(f"a file is one of {', '.join(FORMATS)}")
    with begin() as tx:
        tenant_id = _chosen_tenant(tx)
        wanted = read_wanted(request.args)
        found = select_entries(tx, tenant_id, wanted, most=_IN_A_FILE)
        content = write_entries(form, found.origin, found.chosen)
    return _file(content, f"{tenant_id}.{form}", media_type(form))


@pages.get("/log/proof")
def download_proof() -> Response:
    """One entry with its proof under the last checkpoint: a C2SP tlog-proof."""
    index = request.args.get("position", -1, type=_position)
    with begin() as tx:
        tenant_id = _chosen_tenant(tx)
        proof = prove_entry(tx, tenant_id, index)
    return _file(format_proof(proof).encode(), f"{tenant_id}.{index}.tlog-proof", "text/plain")


@pages.get("/log/bundle")
def download_bundle() -> Response:
    with begin() as tx:
        tenant_id = _chosen_tenant(tx)
        people.check(tx, "log:read", tenant_id)
        people.check(tx, "certificate:read", tenant_id)
        keys = [key.format() for key in enrolling.list_keys(tx, tenant_id)]
        export = begin_export(tx, tenant_id, keys, certificates.list_envelopes)
        actor = tx.actor
    database = the_broker().database
    return _file(stream(lambda: database.begin(actor), export), f"{tenant_id}.log.json")


def _chosen_tenant(tx: Tx) -> TenantId:
    """The one named, or the first of the person's own."""
    named = request.args.get("tenant")
    own = people.list_tenants_of_actor(tx)
    if named is None and not own:
        raise Denied("a log is read by its tenant's own people")
    return TenantId(named) if named is not None else own[0]


def _file(
    content: bytes | Iterator[bytes], name: str, mimetype: str = "application/json"
) -> Response:
    """To be kept, never to be shown by the browser."""
    answer = Response(content, mimetype=mimetype)
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
