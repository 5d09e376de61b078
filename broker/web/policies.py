"""How a tenant approves: reading its policy, changing it, confirming another admin's change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import lifecycle, people, tenants
from broker.errors import Invalid
from broker.grants import approval_policy
from broker.grants.approval_policy import BREAK_GLASS_DEFAULT_S, BREAK_GLASS_S, ApprovalPolicy
from broker.ids import TenantId
from broker.people import Member
from broker.tx import Tx
from broker.web.forms import Choice, Form, choices, read_seconds
from broker.web.languages import gettext
from broker.web.session import begin, the_broker

pages = Blueprint("policies", __name__)
_APPROVALS = ("1", "2", "3")
_SHARES = (25, 50, 75, 90)  # offered; percent of a request's time


@pages.get("/tenants/<id:tenant_id>/policy")
def show(tenant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        return _page(tx, TenantId(tenant_id), {})


@pages.post("/tenants/<id:tenant_id>/policy")
def change(tenant_id: str) -> ResponseReturnValue:
    tenant = TenantId(tenant_id)
    try:
        with begin() as tx:
            ended = lifecycle.change_policy(tx, tenant, _read(request.form), the_broker().queue)
            waits = approval_policy.get_view(tx, tenant).proposed is not None
    except Invalid as error:
        with begin() as tx:
            return _page(tx, tenant, error.facts.get("fields", {})), 422
    flash(
        gettext("Proposed. It holds once another admin confirms it.")
        if waits
        else gettext("Changed. It holds for every request from now on.") + _tell_ended(ended)
    )
    return redirect(url_for(".show", tenant_id=tenant_id), 303)


@pages.post("/tenants/<id:tenant_id>/policy/confirm")
def confirm(tenant_id: str) -> ResponseReturnValue:
    version = read_seconds(request.form, "version") or 0
    with begin() as tx:
        ended = lifecycle.confirm_policy(tx, TenantId(tenant_id), version, the_broker().queue)
    flash(gettext("Confirmed. It holds for every request from now on.") + _tell_ended(ended))
    return redirect(url_for(".show", tenant_id=tenant_id), 303)


def _tell_ended(count: int) -> str:
    if not count:
        return ""
    told = gettext("Grants that it would not have allowed have ended: %(count)s.")
    return " " + told % {"count": count}


def _read(form: Form) -> ApprovalPolicy:
    """Raises Invalid. The longest choice is the broker's own limit, and is kept as none."""
    approvals, times = form.get("approvals", ""), the_broker().settings.times
    if approvals not in _APPROVALS:
        raise Invalid("say how many must approve", fields={"approvals": "1 to 3"})
    limits = {
        "live_max_s": times.access_max_s,
        "copy_max_s": times.copy_max_s,
        "unanswered_s": times.unanswered_s,
    }
    read = {name: read_seconds(form, name) for name in limits}
    own = {name: None if read[name] == most else read[name] for name, most in limits.items()}
    glass_s = read_seconds(form, "break_glass_max_s")
    return ApprovalPolicy(
        approvals=int(approvals),
        approvers=tuple(form.getlist("approvers")),
        second_person="second_person" in form,
        reminders=tuple(int(share) for share in form.getlist("reminders") if _is_share(share)),
        escalate_to=tuple(form.getlist("escalate_to")),
        escalate_after_s=read_seconds(form, "escalate_after_s") or None,
        masked_only="masked_only" in form,
        dedicated_only="dedicated_only" in form,
        break_glass="break_glass" in form,
        break_glass_max_s=BREAK_GLASS_DEFAULT_S if glass_s is None else glass_s,
        live_max_s=own["live_max_s"],
        copy_max_s=own["copy_max_s"],
        unanswered_s=own["unanswered_s"],
    )


def _is_share(text: str) -> bool:
    return text in {str(share) for share in range(1, 100)}


def _page(tx: Tx, tenant_id: TenantId, problems: Mapping[str, str]) -> str:
    view = approval_policy.get_view(tx, tenant_id)
    times, policy = the_broker().settings.times, view.policy
    admins = [member for member in people.list_members(tx, tenant_id) if member.role == "admin"]
    proposer = next((one.name for one in admins if one.person_id == view.proposed_by), None)
    return render_template(
        "console/policy.html",
        tenant=tenants.get_tenant(tx, tenant_id).name,
        view=view,
        names=_names(admins),
        proposer=proposer,
        mine=view.proposed_by == tx.actor.person_id,
        may_change=people.may(tx, "policy:change", tenant_id),
        admins=admins,
        problems=problems,
        shares=sorted({*_SHARES, *policy.reminders}),
        escalate_choices=choices(times.unanswered_s, policy.escalate_after_s or 0, none=True)[1:],
        live_choices=_choices(times.access_max_s, policy.live_max_s, none=True),
        copy_choices=_choices(times.copy_max_s, policy.copy_max_s, none=True),
        unanswered_choices=_choices(times.unanswered_s, policy.unanswered_s, none=False),
        glass_choices=choices(BREAK_GLASS_S[1], policy.break_glass_max_s, none=False),
    )


def _names(admins: Sequence[Member]) -> Mapping[str, str]:
    return {admin.person_id: admin.name for admin in admins}


def _choices(most: int, chosen: int | None, *, none: bool) -> Sequence[Choice]:
    own = most if chosen is None else min(chosen, most)
    return choices(most, own, none=none)
