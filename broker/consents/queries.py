"""Frozen views of purposes and consents for the outer layers; each checks who asks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from broker import people
from broker.consents import backup_plans, ledger, recipients
from broker.consents.ledger import Consent
from broker.consents.model import ConsentAct
from broker.consents.purposes import (
    BACKUP,
    LANGUAGES,
    RECIPIENT,
    Purpose,
    find_purpose,
    list_purposes,
)
from broker.db import Json
from broker.ids import PersonId, TenantId
from broker.people import shown_name
from broker.tx import Tx


@dataclass(frozen=True, slots=True)
class ConsentView:
    """One consent that can be given, and how it stands: `missing`, `live`, `withdrawn`, `lapsed`.

    `own` is the reader's own; else the organisation's. `digests` is, by language, what to send to
    agree to the text that stands now. `since` and by whom: the last act. `named` is what is read
    with it of the recipient, or of the backup, where the purpose names those.
    """

    purpose: Purpose
    about: str
    own: bool
    state: str
    since: datetime | None
    by: str | None
    version: int | None
    lapses_at: datetime | None
    named: Json | None = None

    @property
    def recipient(self) -> Json | None:
        return self.named if self.purpose.names == RECIPIENT else None

    @property
    def backup(self) -> Json | None:
        return self.named if self.purpose.names == BACKUP else None

    @property
    def name(self) -> str:
        return self.purpose.name

    @property
    def digests(self) -> dict[str, str]:
        return {language: self.purpose.digest(language, self.named) for language in LANGUAGES}


@dataclass(frozen=True, slots=True)
class ActView:
    """One act of the ledger; `by` is None where time alone acted."""

    id: str
    purpose: str
    about: str
    act: str
    version: int
    language: str | None
    shown: str | None
    lapses_at: datetime | None
    person_id: str | None
    by_id: str | None
    by: str | None
    via: str
    at: datetime


def list_consents(tx: Tx, tenant_id: TenantId) -> list[ConsentView]:
    """The organisation's, and for one of its people their own; those never given too."""
    people.check(tx, "consent:read", tenant_id)
    own = tx.actor.person_id if people.may(tx, "consent:own", tenant_id) else None
    views = []
    for purpose in list_purposes(tx):
        is_own = purpose.given_by == "person"
        if purpose.is_asked and (own is not None or not is_own):
            person_id = own if is_own else None
            for about, named in _list_about(tx, tenant_id, purpose):
                consent = Consent(tenant_id, purpose.name, person_id, about)
                views.append(replace(_view(tx, purpose, consent), named=named))
    return sorted(views, key=lambda view: (view.own, view.name, view.about))


def _list_about(tx: Tx, tenant_id: TenantId, purpose: Purpose) -> list[tuple[str, Json | None]]:
    """Each thing of the purpose that is consented to by itself, and what is read with its text."""
    if purpose.names == RECIPIENT:
        found = recipients.list_all(tx, "third_party", open_only=True)
        return [(row.id, row.document()) for row in found]
    if purpose.names == BACKUP:
        return [(row.id, row.document()) for row in backup_plans.list_open(tx, tenant_id)]
    return [(about, None) for about in purpose.about or ("",)]


def get_consent(tx: Tx, consent: Consent) -> ConsentView:
    """One, as it stands. Raises NotFound."""
    views = list_consents(tx, consent.tenant_id)
    own = consent.person_id is not None
    wanted = (consent.purpose, consent.about, own)
    return next(view for view in views if (view.name, view.about, view.own) == wanted)


def _view(tx: Tx, purpose: Purpose, consent: Consent) -> ConsentView:
    last = ledger.find_last(tx, consent)
    return ConsentView(
        purpose=purpose,
        about=consent.about,
        own=consent.person_id is not None,
        state=_state(tx, consent, last),
        since=last.at if last else None,
        by=_name(tx, last) if last else None,
        version=last.version if last else None,
        lapses_at=last.lapses_at if last else None,
    )


def _state(tx: Tx, consent: Consent, last: ConsentAct | None) -> str:
    if last is None:
        return "missing"
    if ledger.is_live(tx, consent):
        return "live"
    return "withdrawn" if last.act == "withdrawn" else "lapsed"


def _name(tx: Tx, act: ConsentAct) -> str | None:
    return tx.session.scalar(sa.select(shown_name(act.by_id, act.tenant_id))) if act.by_id else None


def list_acts(tx: Tx, tenant_id: TenantId) -> list[ActView]:
    """The ledger, newest first: the organisation's acts, and the reader's own."""
    people.check(tx, "consent:read", tenant_id)
    name = shown_name(ConsentAct.by_id, tenant_id).label("name")
    query = (
        sa.select(ConsentAct, name)
        .where(
            ConsentAct.tenant_id == tenant_id,
            sa.or_(ConsentAct.person_id.is_(None), ConsentAct.person_id == tx.actor.person_id),
        )
        .order_by(ConsentAct.number.desc())
    )
    return [
        ActView(
            id=act.id,
            purpose=act.purpose,
            about=act.about,
            act=act.act,
            version=act.version,
            language=act.language,
            shown=act.shown,
            lapses_at=act.lapses_at,
            person_id=act.person_id,
            by_id=act.by_id,
            by=by,
            via=act.via,
            at=act.at,
        )
        for act, by in tx.session.execute(query)
    ]


def whose(tx: Tx, tenant_id: TenantId, purpose: str, about: str = "") -> Consent:
    """What the actor means by these words: their own consent where the purpose is a person's."""
    found = find_purpose(tx, purpose)
    own = found is not None and found.given_by == "person"
    person_id = PersonId(tx.actor.person_id) if own and tx.actor.person_id else None
    return Consent(tenant_id, purpose, person_id, about)
