"""What ends what: the one door through which grants, leases and copies end.

    ticket ended ─┐
    window over   ├─▶ grant ended ─▶ its leases revoking, its copies condemned
    a click       │
    person gone   │
    consent gone ─┘

Ending is a change of states, entries and hints in one transaction; what is then done on servers is
done by jobs and, if those are lost, by the sweeps. Nothing here talks to the outside.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from broker import mail, people, platforms, quarantine, storages, tenants, trail
from broker.backups import runs
from broker.consents import backup_plans, ledger
from broker.consents.backup_plans import BackupPlan
from broker.consents.ledger import Consent
from broker.consents.purposes import BY_KIND, REGULAR_BACKUPS
from broker.errors import NOT_THERE, Conflict, NotFound
from broker.grants import approval_policy, consented, in_force, leases, mismatch, requests, standing
from broker.grants.approval_policy import ApprovalPolicy, Given
from broker.grants.model import Grant, Lease, Standing
from broker.grants.scope_kinds import RAW
from broker.grants.telling import page_of
from broker.ids import PersonId, TenantId
from broker.jobs import Queue
from broker.languages import mark
from broker.letters import Letter, Phrase, phrase
from broker.quarantine import Quarantine
from broker.snapshots import attesting, ordering
from broker.snapshots.model import Snapshot
from broker.tickets import mirror
from broker.tickets.mirror import Seen
from broker.tx import Tx

_OPEN = ("requested", "approved")
_WITHDRAWN = mark("the standing approval was withdrawn")
_FORBIDDEN = mark("the customer's policy does not allow it any more")


def end_grant(tx: Tx, grant: Grant, why: str, queue: Queue) -> bool:
    """End a grant or request with all that rests on it; False when it already was over."""
    if not in_force.mark_ended(tx, grant, why):
        return False
    for lease in leases.list_open(tx, grant_id=grant.id):
        leases.end(tx, lease, why, queue)
    for snapshot in ordering.list_alive(tx, grant_id=grant.id):
        ordering.condemn(tx, snapshot, why, queue)
    mail.write(tx, PersonId(grant.requester_id), None, _say_ended(grant, why))
    return True


def _say_ended(grant: Grant, why: str) -> Letter:
    return Letter(
        phrase("%(grant)s has ended", grant=grant.id),
        [
            phrase(
                "Access under %(grant)s has ended: %(why)s. Logins are cut and copies destroyed.",
                grant=grant.id,
                why=Phrase(why),
            )
        ],
        kind="ended",
        page=page_of(grant),
        thread=grant.ticket_id,
    )


def end_grant_by_click(tx: Tx, grant_id: str, queue: Queue) -> None:
    """Either side ends a grant at once. Raises Conflict when it was over already."""
    grant = requests.get_grant(tx, grant_id)
    people.check(tx, "grant:end", TenantId(grant.tenant_id))
    why = (
        mark("ended by the customer") if tx.actor.side == "tenant" else mark("ended by the vendor")
    )
    if not end_grant(tx, grant, why, queue):
        raise Conflict(f"{grant.id} is {grant.state} already, since {grant.state_at.isoformat()}")


def end_lease_by_click(tx: Tx, lease_id: str, queue: Queue) -> None:
    lease = leases.get_lease(tx, lease_id)
    people.check(tx, "lease:end", TenantId(lease.tenant_id))
    if not leases.end(tx, lease, f"ended by the {tx.actor.side}", queue):
        raise Conflict(f"{lease.id} is {lease.state} already")


def remove_platform(tx: Tx, platform_id: str, queue: Queue) -> None:
    """Take a platform out of use: what was asked or given on it ends, its tokens with it."""
    platform = platforms.get_platform(tx, platform_id)
    people.check(tx, "platform:register", TenantId(platform.tenant_id))
    platforms.mark_removed(tx, platform)
    for grant in _list_open(tx, Grant.platform_id == platform_id):
        end_grant(tx, grant, mark("its platform was removed"), queue)


def remove_storage(tx: Tx, storage_id: str, queue: Queue) -> None:
    """Take a tenant's objects out of use: what was asked or given on them ends."""
    storage = storages.get_storage(tx, storage_id)
    people.check(tx, "storage:register", TenantId(storage.tenant_id))
    storages.mark_removed(tx, storage)
    for grant in _list_open(tx, Grant.storage_id == storage_id):
        end_grant(tx, grant, mark("its storage was removed"), queue)


def attest(tx: Tx, snapshot_id: str, took: str, queue: Queue) -> None:
    """What its requester took out of a copy (`snapshots.attesting`); one that lives ends by it."""
    snapshot = attesting.add(tx, snapshot_id, took)
    ordering.condemn(tx, snapshot, "its requester is done with it", queue)


def condemn_by_click(tx: Tx, snapshot_id: str, queue: Queue) -> None:
    snapshot = ordering.get_snapshot(tx, snapshot_id)
    people.check(tx, "snapshot:condemn", TenantId(snapshot.tenant_id))
    if not ordering.condemn(tx, snapshot, f"destroyed by the {tx.actor.side}'s wish", queue):
        raise Conflict(f"{snapshot.id} is {snapshot.state} already")


def end_all_of_tenant(tx: Tx, tenant_id: TenantId, queue: Queue) -> int:
    """Everything of a tenant ends now; returns how many grants did."""
    people.check(tx, "tenant:end", tenant_id)
    why = (
        mark("the customer ended everything")
        if tx.actor.side == "tenant"
        else mark("the vendor ended everything")
    )
    return end_all(tx, tenant_id, why, queue)


def end_all(tx: Tx, tenant_id: TenantId, why: str, queue: Queue) -> int:
    """Whatever is open of a tenant; returns how many grants and requests were."""
    in_advance = tx.session.scalars(
        sa.select(Standing).where(Standing.tenant_id == tenant_id, Standing.state != "ended")
    ).all()
    for row in in_advance:  # first: what is asked a moment later must find none
        end_standing(tx, row, why, queue)
    for plan in backup_plans.list_open(tx, tenant_id):
        _end_backup(tx, plan, why, queue)
    rows = _list_open(tx, Grant.tenant_id == tenant_id)
    return sum(end_grant(tx, grant, why, queue) for grant in rows)


def end_backup_by_click(tx: Tx, backup_id: str, queue: Queue) -> None:
    """Either side ends a regular backup at once. Raises Conflict when it was over already."""
    plan = backup_plans.get(tx, backup_id, lock=True)
    people.check(tx, "backup:end", TenantId(plan.tenant_id))
    _end_backup(tx, plan, f"the backup was ended by the {tx.actor.side}", queue)


def _end_backup(tx: Tx, plan: BackupPlan, why: str, queue: Queue) -> None:
    runs.end_all(tx, plan.id, why, queue)
    backup_plans.mark_ended(tx, plan)


def change_policy(tx: Tx, tenant_id: TenantId, policy: ApprovalPolicy, queue: Queue) -> int:
    """Change a tenant's policy, or propose it; returns how many grants it ends.

    What was given, and would not be under the policy in force, ends with its logins and copies.
    """
    approval_policy.propose(tx, tenant_id, policy)
    return _end_forbidden(tx, tenant_id, queue)


def confirm_policy(tx: Tx, tenant_id: TenantId, version: int, queue: Queue) -> int:
    """Another admin agrees to a change; returns how many grants it ends."""
    approval_policy.confirm(tx, tenant_id, version)
    return _end_forbidden(tx, tenant_id, queue)


def _end_forbidden(tx: Tx, tenant_id: TenantId, queue: Queue) -> int:
    """A request that waits keeps the policy under which it was asked: an admin can refuse it."""
    _, policy = approval_policy.find_in_force(tx, tenant_id)
    ended = 0
    for grant in _list_open(tx, Grant.tenant_id == tenant_id):
        given = Given(
            live_s=grant.given_live_s,
            copy_s=grant.given_copy_s,
            platform_s=grant.given_platform_s,
            storage_s=grant.given_storage_s,
            in_clear=grant.given_kind == RAW,
            break_glass=grant.break_glass,
        )
        if grant.state == "approved" and approval_policy.forbids(policy, given):
            ended += end_grant(tx, grant, _FORBIDDEN, queue)
    return ended


def end_standing(tx: Tx, row: Standing, why: str, queue: Queue, *, keep: bool = False) -> bool:
    """End a standing approval, and what was approved under it unless `keep`; False if it was over.

    Its row is locked by then, so that no use is missed that was under way.
    """
    if not standing.mark_ended(tx, row, why, keep=keep):
        return False
    rows = tx.session.scalars(
        sa.select(Grant).where(Grant.standing_id == row.id, Grant.state == "approved")
    ).all()
    for grant in () if keep else rows:
        end_grant(tx, grant, _WITHDRAWN, queue)
    return True


def end_standing_by_click(tx: Tx, standing_id: str, queue: Queue, *, keep: bool) -> None:
    """Any admin of the tenant ends it at once. Raises Conflict when it was over already."""
    row = standing.get_standing(tx, standing_id)
    people.check(tx, "standing:end", TenantId(row.tenant_id))
    if not end_standing(tx, row, "ended by the customer", queue, keep=keep):
        raise Conflict(f"{row.id} is over already, since {row.state_at.isoformat()}")


def end_overdue_standing(tx: Tx, row: Standing, queue: Queue) -> bool:
    """Nothing given under it lasts longer than it does, so nothing is left to end with it."""
    why = mark("nobody else agreed") if row.state == "proposed" else mark("its time is over")
    return end_standing(tx, row, why, queue, keep=True)


def withdraw_consent(tx: Tx, consent: Consent, queue: Queue) -> int:
    """Withdraw it, and end what rests on it; returns how many grants, logins and copies ended.

    What was done before stays done, and lawful. Raises Conflict, Denied, Invalid, NotFound.
    """
    ledger.begin_withdrawal(tx, consent)
    ended = 0
    if consent.person_id is None:
        missing = ledger.list_missing(tx, consent.tenant_id, set(BY_KIND.values()))
        gone = {consent.purpose, *missing}
        for row in _list_standing_on(tx, consent):
            end_standing(tx, row, consented.WHY, queue, keep=True)
        for grant in _list_open(tx, Grant.tenant_id == consent.tenant_id):
            ended += end_without_consent(tx, grant, gone, queue)
    if consent.purpose == REGULAR_BACKUPS:
        ended += runs.end_all(tx, consent.about, runs.UNCONSENTED, queue)
    act = ledger.withdraw(tx, consent)
    _tell_of_withdrawal(tx, consent, act.id, ended)
    return ended


def _list_open(tx: Tx, which: sa.ColumnElement[bool]) -> Sequence[Grant]:
    """Grants and requests that are not over yet."""
    query = sa.select(Grant).where(which, Grant.state.in_(_OPEN))
    return tx.session.scalars(query.order_by(Grant.id)).all()


def _list_standing_on(tx: Tx, consent: Consent) -> list[Standing]:
    """Standing approvals that would give what nobody consents to any more."""
    rows = tx.session.scalars(
        sa.select(Standing).where(
            Standing.tenant_id == consent.tenant_id, Standing.state != "ended"
        )
    ).all()
    gives = {"live": "live_max_s", "copy": "copy_max_s"}
    kinds = [kind for kind in gives if BY_KIND[kind] == consent.purpose]
    return [row for row in rows if any(row.conditions[gives[kind]] for kind in kinds)]


def end_without_consent(tx: Tx, grant: Grant, gone: Collection[str], queue: Queue) -> int:
    """End what of an open grant rests on these purposes: all of it when nothing else is left.

    A request that asks for more than they cover stays: it can be approved for the rest.
    """
    needed = consented.needed_by(grant)
    if not needed & set(gone):
        return 0
    if needed <= set(gone):
        return int(end_grant(tx, grant, consented.WHY, queue))
    kinds = {kind for kind, purpose in BY_KIND.items() if purpose in gone}
    ended = 0
    for lease in leases.list_open(tx, grant_id=grant.id):
        of_copy = lease.snapshot_id is not None
        if ("copy" if of_copy else "live") in kinds:
            ended += leases.end(tx, lease, consented.WHY, queue)
    if "copy" in kinds:
        for snapshot in ordering.list_alive(tx, grant_id=grant.id):
            ended += ordering.condemn(tx, snapshot, consented.WHY, queue)
    return ended


def _tell_of_withdrawal(tx: Tx, consent: Consent, act_id: str, ended: int) -> None:
    """The other admins, of the organisation's; nobody else, of a person's own."""
    if consent.person_id is not None:
        return
    letter = Letter(
        phrase("Consent withdrawn: %(purpose)s", purpose=consent.purpose),
        [
            phrase(
                "The consent of your organisation to %(purpose)s was withdrawn (%(act)s). What "
                "rested on it has ended: %(ended)s in all. What was done before stays in your "
                "log.\nAny admin can consent again, on the console under Consents.",
                purpose=consent.purpose,
                act=act_id,
                ended=ended,
            )
        ],
        page=f"/tenants/{consent.tenant_id}/consents",
    )
    for person_id in people.list_recipients(tx, consent.tenant_id, ["admin"]):
        if person_id != tx.actor.person_id:
            mail.write(tx, person_id, consent.tenant_id, letter)


def end_all_of_person(tx: Tx, person_id: str, queue: Queue) -> int:
    """Everything that a person asked for ends now, where the actor may end everything."""
    why = (
        mark("the customer ended everything of this person")
        if tx.actor.side == "tenant"
        else mark("the vendor ended everything of this person")
    )
    grants = [requests.get_grant(tx, grant) for grant in list_open_of_person(tx, person_id)]
    return sum(end_grant(tx, grant, why, queue) for grant in grants)


def list_open_of_person(tx: Tx, person_id: str) -> Sequence[str]:
    """Ids of what `end_all_of_person` would end: for a tenant's admin, in that tenant alone.

    Raises NotFound when there is nothing: the same as for a person who does not exist (G12).
    """
    where = people.list_readable(tx, "tenant:end")
    if not isinstance(where, sa.Select) and not where:
        people.check(tx, "tenant:end")  # raises: nowhere
    ids = tx.session.scalars(
        sa.select(Grant.id).where(
            Grant.requester_id == person_id, Grant.tenant_id.in_(where), Grant.state.in_(_OPEN)
        )
    ).all()
    if not ids:
        raise NotFound(NOT_THERE)
    return ids


def lift_quarantine(tx: Tx, quarantine_id: str, grants: str, queue: Queue) -> int:
    """An operator's word after a restore or a jump of the clock; returns how many grants ended.

    Decisions that the record lost may have been withdrawals. So every tenant is told what is open
    by it, and its log says so; with `grants` "end" all of it ends.
    """
    row = quarantine.lift(tx, quarantine_id, grants)
    facts = {"why": row.why, "grants": grants}
    if row.last_seen_at is not None:
        facts["last_seen_at"] = row.last_seen_at.isoformat()
    trail.record(tx, None, "quarantine.lifted", row.id, facts)
    ended = 0
    for tenant in tenants.list_tenants(tx):
        trail.record(tx, TenantId(tenant.id), "quarantine.lifted", row.id, facts)
        open_ = _list_open(tx, Grant.tenant_id == tenant.id)
        _tell_of_lifting(tx, TenantId(tenant.id), row, [grant.id for grant in open_])
        if grants == "end":
            why = mark("the broker's record was restored from a backup")
            ended += sum(end_grant(tx, grant, why, queue) for grant in open_)
    leases.hurry_pending(tx)
    return ended


def _tell_of_lifting(tx: Tx, tenant_id: TenantId, row: Quarantine, open_: Sequence[str]) -> None:
    becomes = (
        phrase("It has been ended.")
        if row.grants == "end"
        else phrase("It goes on unless you end it.")
    )
    listed = phrase(
        "Open by this record:\n  %(grants)s\n%(becomes)s", grants=", ".join(open_), becomes=becomes
    )
    restored = phrase(
        "Our record of your decisions was restored, or its clock was wrong, and it was held until "
        "one of us looked. What you decided shortly before %(when)s may be missing in it: if you "
        "ended something then, see that it is ended.",
        when=row.last_seen_at or phrase("that"),
    )
    letter = Letter(
        phrase("See what is open: our record was restored"),
        [restored, listed if open_ else phrase("Nothing is open.")],
        kind="security",
        page="/",
    )
    mail.write_to_roles(tx, tenant_id, ["admin"], letter)


def take_look_at_ticket(tx: Tx, seen: Seen, queue: Queue) -> None:
    """End what rests on a ticket that a look has just ended."""
    if seen.ended and seen.ticket_id is not None:
        end_of_ticket(tx, seen.ticket_id, queue)


def end_of_ticket(tx: Tx, ticket_id: str, queue: Queue) -> None:
    for grant in _list_open(tx, Grant.ticket_id == ticket_id):
        end_grant(tx, grant, mark("the ticket has ended"), queue)


def find_reason_to_end(tx: Tx, grant: Grant) -> str | None:
    """Why this grant should not exist now, if it should not: what the sweep asks of each."""
    if grant.state == "requested" and tx.at >= grant.lapses_at:
        return mark("nobody answered")
    if grant.state == "approved" and grant.ends_at is not None and tx.at >= grant.ends_at:
        return mark("its time is over")
    if grant.altered_at is not None:
        return mismatch.WHY
    if grant.state == "approved" and _is_withdrawn(tx, grant):
        return _WITHDRAWN
    ticket = tx.session.get(mirror.Ticket, grant.ticket_id)
    if ticket is None or ticket.ended_at is not None:
        return mark("the ticket has ended")
    return _find_reason_in_requester(tx, grant)


def _find_reason_in_requester(tx: Tx, grant: Grant) -> str | None:
    if people.get_person(tx, grant.requester_id).disabled_at is not None:
        return mark("the person who asked was disabled")
    if not people.is_member(tx, grant.requester_id, None):
        return mark("the person who asked has no role any more")
    return None


def _is_withdrawn(tx: Tx, grant: Grant) -> bool:
    row = tx.session.get(Standing, grant.standing_id) if grant.standing_id else None
    return row is not None and row.state == "ended" and not row.keeps_grants


def end_overdue_lease(tx: Tx, lease: Lease, queue: Queue) -> bool:
    """A lease ends with its own time, also while its grant goes on, and with its grant."""
    grant = requests.get_grant(tx, lease.grant_id)
    if grant.state != "approved":
        return leases.end(tx, lease, f"its grant is {grant.state}", queue)
    return tx.at >= lease.ends_at and leases.end(tx, lease, "its time is over", queue)


def condemn_overdue(tx: Tx, snapshot: Snapshot, queue: Queue) -> bool:
    """A copy ends with its own time, or with a grant that is over for whatever reason."""
    grant = requests.get_grant(tx, snapshot.grant_id)
    if grant.state != "approved":
        return ordering.condemn(tx, snapshot, f"its grant is {grant.state}", queue)
    return tx.at >= snapshot.ends_at and ordering.condemn(tx, snapshot, "its time is over", queue)


def condemn_all_overdue(tx: Tx, copies: Sequence[Snapshot], queue: Queue) -> int:
    """As `condemn_overdue`, for many in few statements; returns how many it condemned."""
    by_reason: dict[str, set[str]] = {}
    for snapshot, state in _list_with_grants(tx, copies):
        why = "its time is over" if state == "approved" else f"its grant is {state}"
        if state != "approved" or tx.at >= snapshot.ends_at:
            by_reason.setdefault(why, set()).add(snapshot.id)
    done: set[str] = set()
    for why, ids in by_reason.items():
        done |= ordering.condemn_all(tx, ids, why, queue)
    held = [snapshot for snapshot in copies if snapshot.id not in done]
    return len(done) + sum(condemn_overdue(tx, snapshot, queue) for snapshot in held)


def _list_with_grants(tx: Tx, copies: Sequence[Snapshot]) -> list[tuple[Snapshot, str]]:
    """Each copy with its grant's state."""
    ids = {snapshot.grant_id for snapshot in copies}
    query = sa.select(Grant.id, Grant.state).where(Grant.id.in_(ids))
    states = dict(tx.session.execute(query).all())
    return [(snapshot, states[snapshot.grant_id]) for snapshot in copies]
