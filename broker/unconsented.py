"""What is open though nobody consents to it any more: asked of the tables by every sweep.

It starts from tenants, who are few, not from what lives, which is much: one statement says which of
them have something open and lack a consent, and mostly it finds none.
"""

from __future__ import annotations

import functools

import sqlalchemy as sa

from broker import lifecycle, mail, people
from broker.consents import ledger
from broker.consents.ledger import Consent
from broker.consents.model import ConsentAct
from broker.consents.purposes import LIVE_ACCESS, TEST_COPY
from broker.grants.model import Grant
from broker.ids import PersonId, TenantId
from broker.jobs import Queue
from broker.letters import Letter, phrase
from broker.settling import GRANT_OPEN
from broker.tenants import Tenant
from broker.tx import Tx

_BATCH = 200


def list_lacking(tx: Tx) -> dict[str, list[str]]:
    """Tenants with something open, and to which purposes of access they do not consent now."""
    asked = {"names": [LIVE_ACCESS, TEST_COPY], "at": tx.at}
    found: dict[str, list[str]] = {}
    for tenant_id, purpose in tx.session.execute(_lacking(), asked):
        found.setdefault(tenant_id, []).append(purpose)
    return found


@functools.cache
def _lacking() -> sa.Select[str, str]:
    """Scalar subqueries, each by its index: as joins they would read all that lives."""
    purposes = ledger.each_of("names")
    name = purposes.c.name
    has_open = (
        sa.select(sa.true())
        .where(Grant.tenant_id == Tenant.id, Grant.state.in_(GRANT_OPEN))
        .limit(1)
        .scalar_subquery()
    )
    is_live = ledger.live(Tenant.id, name, sa.bindparam("at"))
    query = sa.select(Tenant.id, name).join_from(Tenant, purposes, sa.true())
    return query.where(has_open.is_not(None), ~is_live).order_by(Tenant.id, name)


def list_grants(tx: Tx, tenant_id: str) -> list[Grant]:
    """The open ones of one tenant."""
    query = sa.select(Grant).where(Grant.tenant_id == tenant_id, Grant.state.in_(GRANT_OPEN))
    return list(tx.session.scalars(query.order_by(Grant.id).limit(_BATCH)))


def end(tx: Tx, grant: Grant, *, gone: list[str], queue: Queue) -> bool:
    """End what of it rests on purposes to which nobody consents; False when nothing did."""
    tx.session.refresh(grant, with_for_update={"key_share": True})  # who uses it now goes first
    return lifecycle.end_without_consent(tx, grant, gone, queue) > 0


def lapse(tx: Tx, act: ConsentAct) -> bool:
    """Write into the ledger that a consent is over, and ask for it again."""
    person_id = PersonId(act.person_id) if act.person_id else None
    consent = Consent(TenantId(act.tenant_id), act.purpose, person_id, act.about)
    ledger.lapse(tx, act)
    to = [person_id] if person_id else people.list_recipients(tx, consent.tenant_id, ["admin"])
    whose = phrase("Your consent") if person_id else phrase("The consent of your organisation")
    letter = Letter(
        phrase("Consent over: %(purpose)s", purpose=act.purpose),
        [
            phrase(
                "%(whose)s to %(purpose)s is over: its time has come, or its text has changed. "
                "What rested on it ends. If you still want it, read it and consent again, on the "
                "console under Consents; if not, there is nothing to do.",
                whose=whose,
                purpose=act.purpose,
            )
        ],
        page=f"/tenants/{consent.tenant_id}/consents",
    )
    for one in to:
        mail.write(tx, one, consent.tenant_id, letter)
    return True
