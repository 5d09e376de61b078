"""Runs of backups: each begins on a live consent to that very backup, in its hours, by its program.

What must stay true: one run at a time, and each with a login of its own that ends with its report,
its time, the consent or the backup, whichever is first; what was reported is never rewritten; a
run that nobody reported, and a backup that nobody made, are told (`broker.backups.late`).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from broker import mail, people, retries, trail
from broker.backups import rules
from broker.backups.model import BackupRun
from broker.backups.states import RUN_ALIVE, RUN_OPEN, RUN_REVOKING
from broker.consents import backup_plans, ledger
from broker.consents.backup_plans import BackupPlan
from broker.consents.ledger import Consent, ConsentMissing
from broker.consents.purposes import REGULAR_BACKUPS
from broker.engines.postgres.scram import check_verifier
from broker.errors import NOT_THERE, Conflict, Denied, Invalid, NotFound
from broker.ids import TenantId, new_id
from broker.jobs import Queue
from broker.languages import mark
from broker.letters import Letter, Phrase, phrase
from broker.mail import Mail
from broker.states import StateConflict, advance, record_birth
from broker.trail import Personal
from broker.tx import Tx

_TOLD_EVERY = timedelta(hours=1)
OVER = mark("its time is over")
UNCONSENTED = mark("the customer's consent to it is not there any more")
_REPORTED = mark("it was reported")
_JOBS = {"pending": "issue_backup", "issued": "watch_backup", "revoking": "revoke_backup"}


class OutsideHours(Conflict):
    """A run begins in the hours that the customer consented to, and in no others."""

    type = "outside-hours"


@dataclass(frozen=True, slots=True)
class Report:
    """What a program says of its run; `keep_days` None: as long as was declared."""

    outcome: str
    bytes: int | None = None
    digest: str | None = None
    place: str | None = None
    keep_days: int | None = None


def begin(tx: Tx, backup_id: str, verifier: str, queue: Queue) -> str:
    """Ask for the login of one run; returns the run's id.

    Raises ConsentMissing, OutsideHours, Conflict, Denied, Invalid, NotFound.
    """
    plan = backup_plans.get(tx, backup_id, lock=True)
    tenant_id = TenantId(plan.tenant_id)
    people.check(tx, "backup:run", tenant_id)
    if tx.actor.person_id != plan.runner_id:
        raise Denied(f"{plan.id} was declared for another program, and is run by it alone")
    check_verifier(verifier)
    ledger.hold(tx, tenant_id)
    check_allowed(tx, plan)
    if not rules.is_open(plan.opens, plan.closes, tx.at):
        raise OutsideHours(
            f"{plan.id} is run from {plan.hours} UTC, which is what the customer consented to; "
            f"it is {tx.at:%H:%M} UTC"
        )
    _check_alone(tx, plan)
    return _ask(tx, plan, verifier, queue)


def check_allowed(tx: Tx, plan: BackupPlan) -> None:
    """Raises Conflict for a backup that was ended, ConsentMissing."""
    if plan.ended_at is not None:
        raise Conflict(f"{plan.id} was ended, {plan.ended_at:%Y-%m-%d}")
    if not ledger.is_live(tx, consent_to(plan)):
        raise ConsentMissing(
            f"the customer does not consent, or no longer, to {plan.id}; an admin of theirs can, "
            "on their console under Consents",
            purposes=[REGULAR_BACKUPS],
        )


def consent_to(plan: BackupPlan) -> Consent:
    return Consent(TenantId(plan.tenant_id), REGULAR_BACKUPS, about=plan.id)


def _check_alone(tx: Tx, plan: BackupPlan) -> None:
    other = tx.session.scalar(
        sa.select(BackupRun.id).where(BackupRun.backup_id == plan.id, BackupRun.state.in_(RUN_OPEN))
    )
    if other is not None:
        raise Conflict(f"{other} is under way; report it first: broker backups report {other}")


def _ask(tx: Tx, plan: BackupPlan, verifier: str, queue: Queue) -> str:
    identity = new_id("bkr")
    row = BackupRun(
        id=identity,
        tenant_id=plan.tenant_id,
        state="pending",
        backup_id=plan.id,
        runner_id=plan.runner_id,
        role_name=f"sab_b_{identity[4:16]}_{secrets.token_hex(4)}",
        verifier=verifier,
        asked_at=tx.at,
        ends_at=tx.at + timedelta(seconds=plan.longest_s),
    )
    retries.hint(row, tx.at)
    facts = {"backup": plan.id, "database": plan.database_id, "role": row.role_name}
    facts["ends_at"] = row.ends_at.isoformat()
    record_birth(tx, row, "backup_run.asked", facts=facts)
    call(tx, row, queue)
    return identity


def call(tx: Tx, row: BackupRun, queue: Queue) -> None:
    queue.put(tx, job_of(row), row.id, queue="access")


def job_of(row: BackupRun) -> str:
    """The job that goes on with a run that is due."""
    return _JOBS[row.state]


def end(tx: Tx, row: BackupRun, why: str, queue: Queue) -> bool:
    """Condemn its login; False when it is being ended, or was, already."""
    values = {**retries.afresh(tx.at), "end_reason": why}
    try:
        advance(tx, row, RUN_REVOKING, values=values, facts={"why": why})
    except StateConflict:
        return False
    call(tx, row, queue)
    return True


def end_all(tx: Tx, backup_id: str, why: str, queue: Queue) -> int:
    """Every open run of a backup; returns how many ended."""
    query = sa.select(BackupRun).where(
        BackupRun.backup_id == backup_id, BackupRun.state.in_(RUN_ALIVE)
    )
    return sum(end(tx, row, why, queue) for row in tx.session.scalars(query).all())


def report(tx: Tx, run_id: str, said: Report, queue: Queue) -> BackupRun:
    """What came of a run, once; its login ends with it. Raises Conflict, Denied, Invalid, NotFound.

    Late is better than never: also after the login has ended by its own time.
    """
    row = _get_own(tx, run_id)
    plan = backup_plans.get(tx, row.backup_id)
    if row.reported_at is not None:
        raise Conflict(f"{row.id} was reported already, {row.reported_at:%Y-%m-%d %H:%M} UTC")
    _check_report(said)
    row.reported_at, row.outcome = tx.at, said.outcome
    if said.outcome == "done":
        row.bytes, row.digest, row.place = said.bytes, said.digest, (said.place or "").strip()
        row.expires_at = tx.at + timedelta(days=said.keep_days or plan.keep_days)
    tx.session.flush()
    _record_report(tx, row)
    if said.outcome == "done" and rules.is_other_volume(said.bytes or 0, _sizes_before(tx, row)):
        note_unusual(tx, plan, [rules.OTHER_VOLUME], row)
    end(tx, row, _REPORTED, queue)
    return row


def _check_report(said: Report) -> None:
    fields: dict[str, str] = {}
    if said.outcome not in {"done", "failed"}:
        fields["outcome"] = "done or failed"
    if said.outcome == "done":
        if said.bytes is None or said.bytes < 0:
            fields["bytes"] = "how many bytes were written"
        if said.digest is None:
            fields["digest"] = "their SHA-256, in hexadecimal"
        if not 3 <= len((said.place or "").strip()) <= 400:
            fields["place"] = "where they lie, in 3 to 400 characters"
    if fields:
        raise Invalid("a run can't be reported like this", fields=fields)


def _record_report(tx: Tx, row: BackupRun) -> None:
    facts: dict[str, str | int] = {"run": row.id, "outcome": row.outcome or ""}
    facts |= {"began_at": row.asked_at.isoformat()}
    personal: list[Personal] = []
    if row.expires_at is not None:
        facts |= {"bytes": row.bytes or 0, "digest": row.digest or ""}
        facts |= {"expires_at": row.expires_at.isoformat()}
        personal = [Personal("place", row.place or "")]
    trail.record(tx, TenantId(row.tenant_id), "backup.reported", row.backup_id, facts, personal)


def _sizes_before(tx: Tx, row: BackupRun) -> Sequence[int]:
    query = sa.select(BackupRun.bytes).where(
        BackupRun.backup_id == row.backup_id, BackupRun.outcome == "done", BackupRun.id != row.id
    )
    return [size or 0 for size in tx.session.scalars(query.order_by(BackupRun.asked_at.desc()))]


def report_gone(tx: Tx, run_id: str) -> None:
    """Its program destroyed the backup that the run made. Raises Conflict, Denied, NotFound."""
    row = _get_own(tx, run_id)
    if row.outcome != "done" or row.gone_at is not None:
        raise Conflict(f"{row.id} has no backup that could be gone, or was reported gone already")
    row.gone_at = tx.at
    tx.session.flush()
    facts = {"run": row.id, "digest": row.digest or ""}
    trail.record(tx, TenantId(row.tenant_id), "backup.destroyed", row.backup_id, facts)


def note_unusual(
    tx: Tx, plan: BackupPlan, what: Sequence[str], row: BackupRun | None = None
) -> None:
    """Write it down and tell both sides at once; once for each run, and by mail once an hour."""
    known = set(row.unusual) if row is not None else set()
    fresh = [word for word in what if word not in known]
    if not fresh:
        return
    if row is not None:
        row.unusual = [*row.unusual, *fresh]
    facts = {"what": fresh} | ({"run": row.id} if row is not None else {})
    trail.record(tx, TenantId(plan.tenant_id), "backup.unusual", plan.id, facts)
    letter = Letter(
        phrase("Unusual: regular backup %(backup)s", backup=plan.id),
        [
            *(Phrase(rules.UNUSUAL[word]) for word in fresh),
            phrase("The console shows its runs. If you did not expect this, end the backup there."),
        ],
        kind="security",
        page=f"/backups/{plan.id}",
    )
    if row is not None or not _was_told(tx, letter.page):
        mail.write_to_roles(tx, TenantId(plan.tenant_id), ["admin"], letter)
        mail.write_to_roles(tx, None, ["operator"], letter)


def _was_told(tx: Tx, page: str) -> bool:
    """A job at a wrong hour that tries again every minute is told of by the hour."""
    since = tx.at - _TOLD_EVERY
    query = sa.select(Mail.id).where(
        Mail.page == page, Mail.kind == "security", Mail.created_at > since
    )
    return tx.session.scalar(query.limit(1)) is not None


def _get_own(tx: Tx, run_id: str) -> BackupRun:
    row = get(tx, run_id, lock=True)
    people.check(tx, "backup:run", TenantId(row.tenant_id))
    if tx.actor.person_id != row.runner_id:
        raise Denied(f"{row.id} is another program's run")
    return row


def get(tx: Tx, run_id: str, *, lock: bool = False) -> BackupRun:
    row = tx.session.get(BackupRun, run_id, with_for_update=lock or None)
    if row is None:
        raise NotFound(NOT_THERE)
    return row
