"""The ledger: giving, renewing, withdrawing, lapsing; and whether a consent is live.

What must stay true: whoever is about to act on a consent holds it (`hold`), and whoever withdraws
one waits for them, so that no act begins on a consent that is being withdrawn. The act's entry and
the withdrawal's stand in the log in the order in which they happened: `why` rests on it.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from broker import people, tenants, trail
from broker.consents import backup_plans, recipients
from broker.consents.model import ConsentAct
from broker.consents.purposes import BACKUP, RECIPIENT, Purpose, PurposeRow, get_purpose
from broker.db import Json
from broker.due import AT, Due
from broker.errors import Conflict, Denied, Invalid, NotFound
from broker.ids import PersonId, TenantId, new_id
from broker.tx import Tx

GRANTING = ("given", "renewed")
Sql = sa.ColumnElement[bool]
_NOBODY, _NOTHING = sa.literal_column("''", sa.Text), sa.literal_column("''", sa.Text)


class ConsentMissing(Denied):
    """Nobody agreed to that, or no longer: `facts['purposes']` says to what."""

    type = "consent-missing"


@dataclass(frozen=True, slots=True)
class Consent:
    """Which consent: of an organisation, or (`person_id`) of one of its people; to one purpose."""

    tenant_id: TenantId
    purpose: str
    person_id: PersonId | None = None
    about: str = ""


def hold(tx: Tx, tenant_id: TenantId) -> None:
    """Before acting on a tenant's consents: a withdrawal under way is waited for, a later waits."""
    tx.session.execute(sa.text("SELECT FROM tenant WHERE id = :t FOR SHARE"), {"t": tenant_id})


def _hold_alone(tx: Tx, tenant_id: TenantId) -> None:
    """Acts on one tenant's consents come one after the other, and after those who hold them."""
    tx.session.execute(
        sa.text("SELECT FROM tenant WHERE id = :t FOR NO KEY UPDATE"), {"t": tenant_id}
    )


def find_last(tx: Tx, consent: Consent) -> ConsentAct | None:
    """The last act on it, which says what it is now."""
    query = sa.select(ConsentAct).where(
        ConsentAct.tenant_id == consent.tenant_id,
        ConsentAct.purpose == consent.purpose,
        sa.func.coalesce(ConsentAct.person_id, "") == (consent.person_id or ""),
        ConsentAct.about == consent.about,
    )
    return tx.session.scalar(query.order_by(ConsentAct.number.desc()).limit(1))


def live(tenant: Any, purpose: Any, at: Any, person: Any = _NOBODY, about: Any = _NOTHING) -> Sql:
    """SQL for "the last act on this consent gave it, has not lapsed by `at`, and agreed to a text
    that counts still". The one place where that stands; each argument is a column or a parameter.
    """
    act, text = sa.orm.aliased(ConsentAct), sa.orm.aliased(PurposeRow)
    newest = sa.select(text.counts_from).where(text.name == purpose).correlate_except(text)
    counts = newest.order_by(text.version.desc()).limit(1).scalar_subquery()
    holds = sa.and_(
        act.act.in_(GRANTING), act.lapses_at > at, act.version >= sa.func.coalesce(counts, 1)
    )
    last = (
        sa.select(holds)
        .where(
            act.tenant_id == tenant,
            act.purpose == purpose,
            sa.func.coalesce(act.person_id, _NOBODY) == person,
            act.about == about,
        )
        .correlate_except(act)
        .order_by(act.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    return last.is_(True)


def is_live(tx: Tx, consent: Consent) -> bool:
    if consent.person_id and people.get_person(tx, consent.person_id).restricted_at is not None:
        return False  # what is held of them is put to no use (GDPR 18)
    asked = {
        "tenant": consent.tenant_id,
        "purpose": consent.purpose,
        "at": tx.at,
        "person": consent.person_id or "",
        "about": consent.about,
    }
    return bool(tx.session.scalar(_is_live(), asked))


@functools.cache  # built once
def _is_live() -> sa.Select[bool]:
    return sa.select(live(*map(sa.bindparam, ("tenant", "purpose", "at", "person", "about"))))


def list_missing(tx: Tx, tenant_id: TenantId, purposes: Collection[str]) -> list[str]:
    """Those of an organisation's purposes to which no consent is live; in one question."""
    asked = {"tenant": tenant_id, "purposes": sorted(purposes), "at": tx.at}
    return list(tx.session.scalars(_missing(), asked))


@functools.cache
def _missing() -> sa.Select[str]:
    name = each_of("purposes").c.name
    is_live = live(sa.bindparam("tenant"), name, sa.bindparam("at"))
    return sa.select(name).where(~is_live).order_by(name)


def each_of(parameter: str) -> sa.TableValuedAlias:
    """A table of the names in an array that is sent; its column is `name`.

    It has a name of its own: a bare `name` would be a purpose's, within `live`.
    """
    names = sa.func.unnest(sa.bindparam(parameter, type_=sa.ARRAY(sa.Text)))
    return names.table_valued(sa.column("name", sa.Text)).render_derived(name="wanted")


def check_live(tx: Tx, tenant_id: TenantId, purposes: Collection[str]) -> None:
    """Raises ConsentMissing unless the organisation agrees to each of the purposes now."""
    missing = list_missing(tx, tenant_id, purposes)
    if missing:
        raise ConsentMissing(
            f"the customer does not consent, or no longer, to: {', '.join(missing)}; an admin of "
            "theirs can, on their console under Consents",
            purposes=missing,
        )


def give(tx: Tx, consent: Consent, shown_digest: str) -> ConsentAct:
    """Agree to what was shown, or renew it. One purpose at a time, by who may speak for it.

    Raises Invalid, Conflict when another text stands by now, Denied, NotFound.
    """
    purpose = get_purpose(tx, consent.purpose)
    _check_giver(tx, consent, purpose)
    language = purpose.find_language(shown_digest, _read_about(tx, consent, purpose))
    tenants.check_not_left(tx, consent.tenant_id)
    if language is None:
        raise Conflict(
            f"what you were shown is not what {purpose.name} says now; read it again",
            purpose=purpose.name,
        )
    _hold_alone(tx, consent.tenant_id)
    kind = "consent.renewed" if is_live(tx, consent) else "consent.given"
    act = _act(tx, consent, kind.partition(".")[2], purpose.version)
    act.language, act.shown = language, shown_digest
    act.lapses_at = tx.at + timedelta(days=purpose.max_days)
    return _keep(tx, act, kind=kind)


def begin_withdrawal(tx: Tx, consent: Consent) -> None:
    """Check who asks, and wait for those who act on it. Raises Conflict, Denied, NotFound.

    Then what rests on it is ended, and then `withdraw` is called: last, so that the log says that
    all of it was ended under the consent and nothing was begun after it.
    """
    _check_giver(tx, consent, get_purpose(tx, consent.purpose))
    _hold_alone(tx, consent.tenant_id)
    last = find_last(tx, consent)
    if last is None or last.act not in GRANTING:
        raise Conflict(f"there is no consent to {consent.purpose} to withdraw")


def withdraw(tx: Tx, consent: Consent) -> ConsentAct:
    """Only `lifecycle` calls this: what rests on the consent must end with it."""
    last = find_last(tx, consent)
    assert last is not None  # noqa: S101  # for the type checker: begin_withdrawal found it
    return _keep(tx, _act(tx, consent, "withdrawn", last.version), kind="consent.withdrawn")


def lapse(tx: Tx, act: ConsentAct) -> None:
    """Write down that time, or a new text, has ended a consent; what rests on it was ended."""
    person_id = PersonId(act.person_id) if act.person_id else None
    consent = Consent(TenantId(act.tenant_id), act.purpose, person_id, act.about)
    _hold_alone(tx, consent.tenant_id)
    last = find_last(tx, consent)
    if last is not None and last.number == act.number and not is_live(tx, consent):
        _keep(tx, _act(tx, consent, "lapsed", act.version), kind="consent.lapsed")


def end_all(tx: Tx, tenant_id: TenantId) -> None:
    """Every consent is over: the customer left. What rested on them was ended."""
    _hold_alone(tx, tenant_id)
    later = sa.orm.aliased(ConsentAct)
    followed = sa.select(later.number).where(*_same(later), later.number > ConsentAct.number)
    last = sa.select(ConsentAct).where(
        ConsentAct.tenant_id == tenant_id, ConsentAct.act.in_(GRANTING), ~followed.exists()
    )
    for act in tx.session.scalars(last.order_by(ConsentAct.number)).all():
        person_id = PersonId(act.person_id) if act.person_id else None
        consent = Consent(tenant_id, act.purpose, person_id, act.about)
        _keep(tx, _act(tx, consent, "lapsed", act.version), kind="consent.lapsed")


def _same(later: Any) -> tuple[sa.ColumnElement[bool], ...]:
    """Acts on the same consent."""
    return (
        later.tenant_id == ConsentAct.tenant_id,
        later.purpose == ConsentAct.purpose,
        sa.func.coalesce(later.person_id, "") == sa.func.coalesce(ConsentAct.person_id, ""),
        later.about == ConsentAct.about,
    )


def _is_lapsing() -> sa.ColumnElement[bool]:
    later = sa.orm.aliased(ConsentAct)
    followed = sa.select(later.number).where(*_same(later), later.number > ConsentAct.number)
    newer = sa.select(PurposeRow.name).where(
        PurposeRow.name == ConsentAct.purpose, PurposeRow.counts_from > ConsentAct.version
    )
    over = sa.or_(ConsentAct.lapses_at <= AT, newer.exists())
    return sa.and_(ConsentAct.lapses_at.is_not(None), over, ~followed.exists())


# Given, the last word on it, and no longer live: by time, or by a text that changed.
LAPSING = Due(ConsentAct, _is_lapsing(), ConsentAct.number)


def _check_giver(tx: Tx, consent: Consent, purpose: Purpose) -> None:
    """To give and to withdraw take the same right: neither is harder."""
    permission = "consent:own" if consent.person_id else "consent:give"
    people.check(tx, permission, consent.tenant_id)
    if tx.actor.side != "tenant" or tx.actor.person_id is None:
        raise Denied("only the customer's own people consent, or withdraw a consent")
    if not purpose.is_asked:
        raise Invalid(f"{purpose.name} rests on {purpose.basis}, not on a consent")
    if (consent.person_id is None) != (purpose.given_by == "tenant"):
        whose = "an admin, for the organisation" if purpose.given_by == "tenant" else "each person"
        raise Invalid(f"{purpose.name} is given by {whose}", fields={"purpose": purpose.given_by})
    if consent.person_id is not None and consent.person_id != tx.actor.person_id:
        raise Denied("nobody consents for another person")


def _read_about(tx: Tx, consent: Consent, purpose: Purpose) -> Json | None:
    """What the consent is about, where it is read with the text: a recipient, or a backup."""
    if purpose.names == RECIPIENT:
        recipient = recipients.find_open(tx, consent.about)
        if recipient is None:
            words = "the id of a third party on the register (broker recipients list)"
            raise Invalid("each recipient is consented to by itself", fields={"about": words})
        return recipient.document()
    if purpose.names == BACKUP:
        backup = backup_plans.find_open(tx, consent.tenant_id, consent.about)
        if backup is None:
            words = "the id of a backup that was declared to you (broker backups list)"
            raise Invalid("each backup is consented to by itself", fields={"about": words})
        return backup.document()
    if consent.about not in (purpose.about or ("",)):
        words = ", ".join(purpose.about) or "nothing"
        raise Invalid("each is consented to by itself", fields={"about": f"one of: {words}"})
    return None


def _act(tx: Tx, consent: Consent, act: str, version: int) -> ConsentAct:
    return ConsentAct(
        id=new_id("cns"),
        tenant_id=consent.tenant_id,
        person_id=consent.person_id,
        purpose=consent.purpose,
        about=consent.about,
        act=act,
        version=version,
        by_id=tx.actor.person_id if act != "lapsed" else None,
        side=tx.actor.side,
        via=tx.actor.via,
        at=tx.at,
    )


def _keep(tx: Tx, act: ConsentAct, *, kind: str) -> ConsentAct:
    tx.session.add(act)
    tx.session.flush()
    ends = act.lapses_at.isoformat() if act.lapses_at else None
    facts = {
        "purpose": act.purpose,
        "version": act.version,
        "about": act.about or None,
        "person": act.person_id,
        "digest": act.shown,
        "language": act.language,
        "lapses_at": ends,
    }
    said = {name: value for name, value in facts.items() if value is not None}
    trail.record(tx, TenantId(act.tenant_id), kind, act.id, said)
    return act


def get_act(tx: Tx, act_id: str) -> ConsentAct:
    act = tx.session.get(ConsentAct, act_id)
    if act is None:
        raise NotFound("there is no such act")
    return act
