"""All that the page of a request or grant shows, read in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from broker import people, tenants
from broker.engines import Literal
from broker.grants.decisions import DecisionView, list_decisions
from broker.grants.delegates import Capacity, find_capacity, name_giver
from broker.grants.narrowing import Narrowing
from broker.grants.plan import Plan
from broker.grants.queries import (
    GrantView,
    LeaseView,
    find_given_before,
    get_grant_view,
    get_plan_view,
    list_leases,
)
from broker.grants.reviews import ReviewView, list_reviews
from broker.ids import TenantId
from broker.passkeys import list_passkeys
from broker.snapshots.queries import SnapshotView, list_snapshots
from broker.tx import Tx
from broker.web import timeline
from broker.web.forms import Choice, choices
from broker.web.plan_page import (
    Difference,
    Filter,
    More,
    PlanShown,
    compare,
    find_more,
    show_plan,
)
from broker.web.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Use:
    """What stands under a grant now, and what this person may do about it."""

    grant: GrantView
    leases: Sequence[LeaseView]
    copies: Sequence[SnapshotView]
    may_end: bool
    is_requester: bool
    timeline: Timeline

    @property
    def changes_by_itself(self) -> bool:
        return (
            self.grant.state in {"requested", "approved"}
            or any(lease.state != "revoked" for lease in self.leases)
            or any(copy.state != "destroyed" for copy in self.copies)
        )


@dataclass(frozen=True, slots=True)
class SinceLast:
    """`more` than in the grant that was last given on this database, which was asked at `at`."""

    grant_id: str
    at: datetime
    more: More


@dataclass(frozen=True, slots=True)
class GrantPage:
    """`plan` is None while it is being made, and for those who may not read it; `taken` is what the
    decision took away; `digest` is of the plan on this page; `stands_in_for` is the admin whose
    delegate reads this.
    """

    use: Use
    may_decide: bool
    stands_in_for: str | None
    may_refuse: bool
    reviews: Sequence[ReviewView]  # one after break-glass, else none
    may_close: bool
    has_passkey: bool
    decisions: Sequence[DecisionView]
    wanted: Filter
    plan: PlanShown | None
    digest: str
    literals: Sequence[Literal]
    taken: Difference | None
    since: SinceLast | None  # for who may decide
    live_choices: Sequence[Choice]
    copy_choices: Sequence[Choice]
    platform_choices: Sequence[Choice]
    storage_choices: Sequence[Choice]
    servers: Sequence[str]

    @property
    def grant(self) -> GrantView:
        return self.use.grant


def read(tx: Tx, grant_id: str, wanted: Filter, ticked: Narrowing) -> GrantPage:
    grant = get_grant_view(tx, grant_id)
    tenant_id = TenantId(grant.tenant_id)
    shown = None
    if grant.asked_digest and people.may(tx, "plan:read", tenant_id):
        shown = get_plan_view(tx, grant_id, "asked")
    given = get_plan_view(tx, grant_id, "given") if shown and grant.given_digest else None
    decided = list_decisions(tx, grant_id)
    has_approved = any(one.person_id == tx.actor.person_id for one in decided)
    capacity = find_capacity(tx, tenant_id) if grant.state == "requested" else None
    may_read = people.may(tx, "review:read", tenant_id)
    may_decide = _may_decide(tx, grant, capacity) and not has_approved
    return GrantPage(
        use=read_use(tx, grant),
        may_decide=may_decide,
        may_refuse=capacity is not None and not has_approved,
        has_passkey=grant.state == "requested" and bool(list_passkeys(tx)),
        stands_in_for=name_giver(tx, tenant_id, capacity),
        reviews=list_reviews(tx, tenant_id, grant_id=grant_id) if may_read else (),
        may_close=people.may(tx, "review:close", tenant_id),
        decisions=decided,
        wanted=wanted,
        plan=show_plan((given or shown).plan, wanted, ticked) if shown else None,
        digest=(given or shown).digest if shown else "",
        literals=shown.literals if shown else (),
        taken=compare(shown.plan, given.plan) if shown and given else None,
        since=_compare_with_last(tx, grant_id, shown.plan) if shown and may_decide else None,
        **_offer(grant, ticked),
        servers=[server.name for server in tenants.list_servers(tx)],
    )


def _compare_with_last(tx: Tx, grant_id: str, asked: Plan) -> SinceLast | None:
    """Reads that plan as whoever decides would: it is written down too."""
    last = find_given_before(tx, grant_id)
    if last is None:
        return None
    before = get_plan_view(tx, last[0], "given")
    return SinceLast(*last, find_more(before.plan, asked))


def _may_decide(tx: Tx, grant: GrantView, capacity: Capacity | None) -> bool:
    if not grant.break_glass:
        return capacity is not None
    others = tx.actor.person_id != grant.requester_id
    return grant.state == "requested" and others and people.may(tx, "glass:break")


def _offer(grant: GrantView, ticked: Narrowing) -> dict[str, Sequence[Choice]]:
    """For each window what may be given; not at all, where another was asked too."""
    windows = {
        "live_choices": (grant.asked_live_s, ticked.live_s),
        "copy_choices": (grant.asked_copy_s, ticked.copy_s),
        "platform_choices": (grant.asked_platform_s, ticked.platform_s),
        "storage_choices": (grant.asked_storage_s, ticked.storage_s),
    }
    several = sum(asked > 0 for asked, _ in windows.values()) > 1
    return {
        name: choices(asked, asked if chosen is None else chosen, none=several)
        for name, (asked, chosen) in windows.items()
    }


def read_use(tx: Tx, grant: GrantView) -> Use:
    tenant_id = TenantId(grant.tenant_id)
    leases = list_leases(tx, tenant_id, grant_id=grant.id)
    copies = list_snapshots(tx, tenant_id, grant_id=grant.id)
    return Use(
        grant=grant,
        leases=leases,
        copies=copies,
        timeline=timeline.draw(grant, leases, copies, tx.at),
        may_end=people.may(tx, "grant:end", tenant_id),
        is_requester=tx.actor.person_id == grant.requester_id,
    )
