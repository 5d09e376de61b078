"""After the legal term: names, texts and addresses go, then a statement is signed, then who got it.

What must stay true: nothing goes before its term, while nobody confirmed the schedule, or of a
customer that is not closed; a function of the database (`erase_departed`) refuses it too. What acts
point to stays, as opaque ids: the logs of others, and this one, still verify (G9, G13).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from broker import __version__, entries, erasing, idempotency, mail, people, tenants
from broker.audit import dsse
from broker.audit.certified import statements_key_name
from broker.audit.statements import DEPARTURE, TYPES
from broker.backups.model import BackupRun
from broker.db import Json
from broker.departures.model import ERASE, FINISH, Departure
from broker.ids import PersonId, TenantId
from broker.keys import STATEMENTS_KEY, Signer
from broker.letters import Letter, phrase
from broker.mail import Mail
from broker.people import Membership, Person
from broker.retention import schedule
from broker.states import advance
from broker.trail import AuditLog
from broker.tx import Actor, Tx

RECORD = "departed"  # of the retention schedule
_READ_BY = timedelta(days=7)  # after which who could not be reached is erased all the same
_SOFTWARE = f"support-access-broker {__version__}"


@dataclass(frozen=True, slots=True)
class Term:
    """The legal term as it was confirmed, and by whom."""

    span: timedelta
    confirmed_by: PersonId


def find_term(tx: Tx) -> Term | None:
    """None while nobody confirmed the schedule that stands."""
    row = schedule.find_standing(tx)
    if row is None or row.confirmed_by is None or RECORD not in row.document:
        return None
    return Term(timedelta(days=row.document[RECORD]["days"]), PersonId(row.confirmed_by))


def list_backups_alive(tx: Tx, tenant_id: TenantId) -> list[str]:
    """Reported backups that nobody reported gone: files of the customer's, kept elsewhere."""
    query = sa.select(BackupRun.id).where(
        BackupRun.tenant_id == tenant_id, BackupRun.outcome == "done", BackupRun.gone_at.is_(None)
    )
    return list(tx.session.scalars(query.order_by(BackupRun.id)))


def erase(tx: Tx, row: Departure, term: Term, signer: Signer) -> None:
    """Everything but the accounts that are told; signs the statement, and mails it to them."""
    tenant_id, mine = TenantId(row.tenant_id), _as_officer(tx, term)
    told = people.list_recipients(tx, tenant_id, ["admin"])
    for person_id in _list_of_it_alone(tx, tenant_id):
        if person_id not in told:
            _erase_person(mine, person_id, tenant_id)
    idempotency.forget_answers(tx)
    asked = {"departure": row.id, "days": term.span.days}
    counts = tx.session.scalar(sa.text("SELECT erase_departed(:departure, :days)"), asked)
    tx.session.expire_all()
    envelope = _sign(tx, row, counts, signer)
    digest = hashlib.sha256(envelope).hexdigest()
    values = {"envelope": envelope, "counts": counts, "erased_at": tx.at}
    advance(tx, row, ERASE, values=values, facts={"digest": digest})
    letter = Letter(
        phrase("The data of your organisation was erased"),
        [
            phrase(
                "The legal term is over. Names, texts, addresses and what opened the entries of "
                "your log are erased; the signed statement is attached, keep it. Your account is "
                "erased once this mail was sent."
            )
        ],
        kind="security",
        attachment=row.id,
    )
    for person_id in told:
        mail.write(tx, person_id, tenant_id, letter)


def finish(tx: Tx, row: Departure, term: Term) -> bool:
    """Erase who was told, once the mails are out; False while they are not."""
    waiting = sa.select(Mail.id).where(Mail.attachment == row.id, Mail.sent_at.is_(None))
    if tx.session.scalar(waiting.limit(1)) and tx.at < (row.erased_at or tx.at) + _READ_BY:
        return False
    tenant_id, mine = TenantId(row.tenant_id), _as_officer(tx, term)
    for person_id in _list_of_it_alone(tx, tenant_id):
        _erase_person(mine, person_id, tenant_id)
    advance(tx, row, FINISH)
    return True


def read_envelope(tx: Tx, departure_id: str) -> bytes:
    return tx.session.get_one(Departure, departure_id).envelope or b""


def _as_officer(tx: Tx, term: Term) -> Tx:
    """Who confirmed the schedule that is carried out stands in the reports of erasures."""
    return replace(tx, actor=Actor("vendor", "schedule", term.confirmed_by))


def _list_of_it_alone(tx: Tx, tenant_id: TenantId) -> list[PersonId]:
    """People who have, and had, no role but here, and are not erased."""
    elsewhere = sa.select(Membership.id).where(
        Membership.person_id == Person.id, Membership.tenant_id.is_distinct_from(tenant_id)
    )
    here = sa.select(Membership.person_id).where(Membership.tenant_id == tenant_id)
    query = sa.select(Person.id).where(
        Person.id.in_(here),
        ~elsewhere.exists(),
        ~Person.address_key.startswith(erasing.ERASED),
    )
    return [PersonId(one) for one in tx.session.scalars(query.order_by(Person.id))]


def _erase_person(tx: Tx, person_id: PersonId, tenant_id: TenantId) -> None:
    people.end_memberships_of_left(tx, person_id, tenant_id)
    erasing.erase(tx, person_id)


def _sign(tx: Tx, row: Departure, counts: Json, signer: Signer) -> bytes:
    tenant = tenants.get_tenant(tx, row.tenant_id)
    log = tx.session.scalars(sa.select(AuditLog).where(AuditLog.tenant_id == tenant.id)).one()
    statement: dict[str, Any] = {
        "v": 1,
        "type": DEPARTURE,
        "departure": row.id,
        "tenant": tenant.id,
        "log": tenant.log_origin,
        "log_size": log.size,
        "erased": counts,
        "left": "opaque ids, instants, commitments of the log, and what an authority ordered",
        "at": {"closed": _instant(row.closed_at), "erased": _instant(tx.at)},
        "software": _SOFTWARE,
    }
    return dsse.seal(
        TYPES[DEPARTURE],
        entries.canonical(statement),
        statements_key_name(tenant.log_origin),
        signer.public(STATEMENTS_KEY),
        lambda message: signer.sign(STATEMENTS_KEY, message),
    )


def _instant(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
