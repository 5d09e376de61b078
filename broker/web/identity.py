"""How an organisation's people sign in: its own sign-in services, their rules, who is linked.

A client secret that is typed here is sealed for the key port in the same request and kept nowhere
else: an admin of a customer has no command line at hand (ADR 0043). `broker identity-providers`
seals it before it leaves the machine.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import people, tenants
from broker.directories.registering import list_directories
from broker.errors import Invalid, Unavailable
from broker.ids import TenantId
from broker.keys.intake import INTAKE_KEY, client_context, seal_login
from broker.oidc import links, providers
from broker.oidc.going import answer_address
from broker.oidc.providers import Client, Rules
from broker.outgoing import Outgoing
from broker.people import TENANT_ROLES, VENDOR_ROLES
from broker.secret import Secret
from broker.tx import Tx
from broker.web.forms import Form
from broker.web.languages import gettext
from broker.web.session import begin, the_broker

pages = Blueprint("identity", __name__)


@pages.get("/identity-providers")
def list_all() -> ResponseReturnValue:
    return _list_page({})


def _list_page(problems: Mapping[str, str]) -> str:
    tenant_id = _tenant(request.values)
    with begin() as tx:
        return render_template(
            "console/identity.html",
            tenant_id=tenant_id or "",
            services=providers.list_providers(tx, tenant_id),
            directories=list_directories(tx, tenant_id) if tenant_id else (),
            roles=TENANT_ROLES if tenant_id else VENDOR_ROLES,
            back=answer_address(the_broker().settings.web.public_url),
            may_change=people.may(tx, "identity:configure", tenant_id),
            problems=problems,
            sent=request.form,
        )


@pages.post("/identity-providers")
def register() -> ResponseReturnValue:
    form = request.form
    issuer, client_id = form.get("issuer", "").strip(), form.get("client_id", "").strip()
    local = Outgoing(the_broker().settings.outgoing.networks).allows_local
    try:
        with begin() as tx:
            client = Client(issuer, client_id, _seal(tx, form, issuer, client_id))
            provider_id = providers.register(
                tx, _tenant(form), client, _rules(form), the_broker().queue, local=local
            )
    except Invalid as error:
        return _list_page(error.facts.get("fields", {})), 422
    flash(gettext("Registered. What it says of itself is being read; look again in a moment."))
    return redirect(url_for(".show", provider_id=provider_id), 303)


@pages.get("/identity-providers/<id:provider_id>")
def show(provider_id: str) -> ResponseReturnValue:
    return _page(provider_id, {})


@pages.post("/identity-providers/<id:provider_id>")
def change(provider_id: str) -> ResponseReturnValue:
    try:
        with begin() as tx:
            row = providers.get(tx, provider_id)
            sealed = _seal(tx, request.form, row.issuer, row.client_id)
            providers.change(tx, provider_id, _rules(request.form), sealed)
    except Invalid as error:
        return _page(provider_id, error.facts.get("fields", {})), 422
    flash(gettext("Changed. It holds from the next sign-in on."))
    return _back(provider_id)


@pages.post("/identity-providers/<id:provider_id>/check")
def check(provider_id: str) -> ResponseReturnValue:
    with begin() as tx:
        providers.check(tx, provider_id, the_broker().queue)
    flash(gettext("What it says of itself is being read; look again in a moment."))
    return _back(provider_id)


@pages.post("/identity-providers/<id:provider_id>/remove")
def remove(provider_id: str) -> ResponseReturnValue:
    with begin() as tx:
        tenant_id = providers.get(tx, provider_id).tenant_id
        providers.remove(tx, provider_id)
    flash(gettext("Removed. Its sessions are ended, and nobody is linked with it any more."))
    return redirect(url_for(".list_all", tenant=tenant_id), 303)


@pages.post("/identity-providers/<id:provider_id>/people/<id:person_id>/unlink")
def unlink(provider_id: str, person_id: str) -> ResponseReturnValue:
    with begin() as tx:
        links.end(tx, provider_id, person_id)
    flash(gettext("Unlinked. Sessions that were opened so are ended."))
    return _back(provider_id)


def _page(provider_id: str, problems: Mapping[str, str]) -> str:
    base = the_broker().settings.web.public_url.rstrip("/")
    with begin() as tx:
        row = providers.get(tx, provider_id)
        tenant_id = providers.tenant_of(row)
        linked = set(links.list_linked(tx, provider_id))
        known = {one.person_id: one for one in people.list_members(tx, tenant_id)}
        return render_template(
            "console/identity_provider.html",
            service=row,
            link=f"{base}/sign-in/organisation/{row.id}",
            logout=f"{base}/hooks/logout/{row.id}",
            back=answer_address(base),
            linked=[one for one in known.values() if one.person_id in linked],
            roles=TENANT_ROLES if tenant_id else VENDOR_ROLES,
            may_change=people.may(tx, "identity:configure", tenant_id),
            problems=problems,
            sent=request.form or _as_form(row.roles, row.step_up_acr, row.step_up_amr),
        )


def _as_form(roles: Mapping[str, str], acr: list[str], amr: list[str]) -> dict[str, str]:
    said = "\n".join(f"{group} = {role}" for group, role in sorted(roles.items()))
    return {"roles": said, "acr": " ".join(acr), "amr": " ".join(amr)}


def _back(provider_id: str) -> ResponseReturnValue:
    return redirect(url_for(".show", provider_id=provider_id), 303)


def _tenant(form: Form) -> TenantId | None:
    return TenantId(form["tenant"]) if form.get("tenant") else None


def _rules(form: Form) -> Rules:
    """Raises Invalid naming each field."""
    return Rules(
        name=form.get("name", ""),
        groups_claim=form.get("groups_claim", "").strip() or "groups",
        roles=_read_roles(form.get("roles", "")),
        acr=form.get("acr", "").split(),
        amr=form.get("amr", "").split(),
    )


def _read_roles(text: str) -> dict[str, str]:
    """A line for each group: its name, `=`, a role."""
    lines = [line for line in text.splitlines() if line.strip()]
    if any("=" not in line for line in lines):
        problem = gettext("a line for each group, such as: support-admins = admin")
        raise Invalid("these are no groups with roles", fields={"roles": problem})
    pairs = [line.rpartition("=") for line in lines]
    return {group.strip(): role.strip() for group, _, role in pairs}


def _seal(tx: Tx, form: Form, issuer: str, client_id: str) -> bytes | None:
    secret = Secret(form.get("client_secret", "").strip())
    if secret == Secret(""):
        return None
    public = tenants.find_published_key(tx, INTAKE_KEY)
    if public is None:
        raise Unavailable("no worker has published the public keys yet; start one, then try again")
    return seal_login(public, secret, client_context(issuer, client_id))
