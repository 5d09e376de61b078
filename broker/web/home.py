"""The first page: what waits, what is open now, what ended lately; and ending everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker import finds, lateness, lifecycle, mail, people, quarantine, tenants
from broker.errors import Invalid
from broker.figures import read_figures
from broker.grants import delegates
from broker.grants.queries import GrantView, LeaseView, get_grant_view, list_grants, list_leases
from broker.grants.reviews import ReviewView, list_reviews
from broker.grants.states import LEASE_OPEN
from broker.ids import PersonId, TenantId
from broker.lateness import Late
from broker.letters import KINDS
from broker.paging import Page
from broker.snapshots import holds
from broker.snapshots.queries import SnapshotView, list_snapshots
from broker.snapshots.states import NOT_DESTROYED
from broker.tx import Tx
from broker.web.languages import gettext, mark
from broker.web.session import Visitor, begin, the_broker, visitor

pages = Blueprint("home", __name__)
_ENDED_LATELY = Page(limit=8)
_LATE = {
    "snapshot": mark("copy"),
    "lease": mark("login"),
    "remnant": mark("remnant"),
    "look": mark("look at a destroyed copy"),
    "find": mark("what was found"),
    "review": mark("review of break-glass"),
    "breach": mark("notification of a breach"),
    "rights": mark("answer to a person"),
    "ticket system": mark("ticket system"),
    "ticket": mark("look at a ticket"),
    "log": mark("signature of a log"),
}


@dataclass(frozen=True, slots=True)
class Home:
    """`mine` is true for an engineer, whose page shows what she asked for herself."""

    mine: bool
    waiting: Sequence[GrantView]
    glass: Sequence[GrantView]  # break-glass of others, that waits for this lead
    reviews: Sequence[ReviewView]  # open
    grants: Sequence[GrantView]
    leases: Sequence[LeaseView]
    copies: Sequence[SnapshotView]
    ended: Sequence[GrantView]
    tenants: Sequence[tuple[str, str]]
    late: Sequence[Late]
    decides: bool  # an admin, or somebody's delegate
    held: bool  # the broker is in quarantine, and this person reads its health


@pages.get("/")
def show() -> ResponseReturnValue:
    with begin() as tx:
        home = _read(tx, visitor())
    return render_template("console/home.html", home=home)


@pages.get("/fragments/home")
def fragment() -> ResponseReturnValue:
    with begin() as tx:
        home = _read(tx, visitor())
    return render_template("console/home_live.html", home=home)


def _read(tx: Tx, who: Visitor) -> Home:
    mine = "grant:request" in who.permissions
    me = who.person_id if mine else None
    own = tenants.list_tenants(tx) if who.signed_in.actor.side == "tenant" else ()
    return Home(
        mine=mine,
        waiting=list_grants(tx, requester_id=me, states=("requested",)),
        glass=_list_glass(tx, me) if "glass:break" in who.permissions else (),
        reviews=list_reviews(tx, states=("open",)) if "review:read" in who.permissions else (),
        grants=list_grants(tx, requester_id=me, states=("approved",)),
        leases=list_leases(tx, person_id=me, states=LEASE_OPEN),
        copies=list_snapshots(tx, requester_id=me, states=NOT_DESTROYED),
        ended=list_grants(tx, requester_id=me, states=("refused", "ended"), page=_ENDED_LATELY),
        tenants=[(tenant.id, tenant.name) for tenant in own],
        late=lateness.list_late(tx) if "health:read" in who.permissions else (),
        decides=delegates.decides_somewhere(tx),
        held="health:read" in who.permissions and quarantine.find_open(tx) is not None,
    )


def _list_glass(tx: Tx, me: PersonId | None) -> Sequence[GrantView]:
    found = list_grants(tx, states=("requested",), break_glass=True)
    return [grant for grant in found if grant.requester_id != me]


@pages.get("/late")
def show_late() -> ResponseReturnValue:
    with begin() as tx:
        people.check(tx, "health:read")
        late = lateness.list_late(tx, after_s=0)
        figures = read_figures(tx)
        held = quarantine.find_view(tx)
        unended = finds.list_unended(tx) if held else []
        kept = holds.count_held(tx)
        unsent = mail.list_unsent(tx)
    return render_template(
        "console/late.html",
        late=late,
        held=held,
        unended=unended,
        kept=kept,
        late_words=_LATE,
        figures=figures,
        unsent=unsent,
        notices=KINDS,
    )


@pages.post("/late/lift")
def lift() -> ResponseReturnValue:
    """The form names the quarantine that was shown: another that began since is not lifted."""
    grants = request.form.get("grants", "")
    if grants not in {"keep", "end"}:
        raise Invalid("say what becomes of the open grants", fields={"grants": "keep or end"})
    with begin() as tx:
        ended = lifecycle.lift_quarantine(
            tx, request.form.get("id", ""), grants, the_broker().queue
        )
    told = gettext("The quarantine is lifted; %(count)s grants were ended, every tenant was told.")
    flash(told % {"count": ended})
    return redirect(url_for(".show_late"), 303)


@pages.get("/tenants/<id:tenant_id>/end-everything")
def ask_end_everything(tenant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        people.check(tx, "tenant:end", TenantId(tenant_id))
        name = tenants.get_tenant(tx, tenant_id).name
        grants = list_grants(tx, TenantId(tenant_id), states=("requested", "approved"))
    return render_template("console/end_everything.html", id=tenant_id, name=name, grants=grants)


@pages.post("/tenants/<id:tenant_id>/end-everything")
def end_everything(tenant_id: str) -> ResponseReturnValue:
    with begin() as tx:
        ended = lifecycle.end_all_of_tenant(tx, TenantId(tenant_id), the_broker().queue)
    told = gettext("Everything was ended: %(count)s in all. Logins are cut and copies destroyed.")
    flash(told % {"count": ended})
    return redirect(url_for(".show"), 303)


@pages.get("/people/<id:person_id>/end-access")
def ask_end_person(person_id: str) -> ResponseReturnValue:
    with begin() as tx:
        grants = lifecycle.list_open_of_person(tx, person_id)
        shown = [get_grant_view(tx, grant_id) for grant_id in grants]
    return render_template("console/end_person.html", name=shown[0].requester, grants=shown)


@pages.post("/people/<id:person_id>/end-access")
def end_person(person_id: str) -> ResponseReturnValue:
    with begin() as tx:
        ended = lifecycle.end_all_of_person(tx, person_id, the_broker().queue)
    told = gettext("Everything of this person was ended: %(count)s in all. Logins are being cut.")
    flash(told % {"count": ended})
    return redirect(url_for(".show"), 303)
