"""Every night, of every act of every log: was it allowed? What can't be explained is told."""

from __future__ import annotations

import sqlalchemy as sa

from broker import mail, trail
from broker.consents import why
from broker.consents.model import UnexplainedAct
from broker.consents.why import Reason
from broker.db import Database
from broker.ids import TenantId
from broker.letters import Letter, phrase
from broker.logs import get_log
from broker.trail import AuditLog
from broker.tx import Tx, system

_log = get_log(__name__)
_ACTOR = system("sweep")


def check_all(database: Database) -> int:
    """Read all logs of tenants, each in a transaction of its own; returns what was new."""
    with database.begin(_ACTOR) as tx:
        query = sa.select(AuditLog.id, AuditLog.tenant_id).where(AuditLog.tenant_id.is_not(None))
        logs = [(row.id, TenantId(row.tenant_id)) for row in tx.session.execute(query)]
    found = 0
    for log_id, tenant_id in logs:
        with database.begin(_ACTOR) as tx:
            found += check(tx, log_id, tenant_id)
    return found


def check(tx: Tx, log_id: str, tenant_id: TenantId) -> int:
    """Of one log: each act without a ground is written down and told, once."""
    known = set(
        tx.session.scalars(sa.select(UnexplainedAct.idx).where(UnexplainedAct.log_id == log_id))
    )
    found = [
        reason
        for reason in why.explain(why.read_log(tx, log_id), why.began_at(tx))
        if reason.ground == why.NONE and reason.position is not None
    ]
    fresh = [reason for reason in found if reason.position not in known]
    for reason in fresh:
        _note(tx, log_id, tenant_id, reason)
    if fresh:
        _tell(tx, tenant_id, fresh)
    return len(fresh)


def _note(tx: Tx, log_id: str, tenant_id: TenantId, reason: Reason) -> None:
    tx.session.add(
        UnexplainedAct(
            log_id=log_id,
            idx=reason.position,
            kind=reason.kind,
            subject=reason.subject,
            found_at=tx.at,
        )
    )
    facts = {"kind": reason.kind, "position": reason.position}
    trail.record(tx, tenant_id, "act.unexplained", reason.subject, facts)
    _log.error("act_unexplained", kind=reason.kind, subject=reason.subject)


def _tell(tx: Tx, tenant_id: TenantId, fresh: list[Reason]) -> None:
    """Both sides: it is the customer's data, and the vendor's to explain."""
    said = [
        phrase(
            "The nightly check found %(count)s acts for which your consent was not there at that "
            "instant:\n%(acts)s",
            count=len(fresh),
            acts=[
                phrase(
                    "  %(at)s  %(kind)s  %(subject)s",
                    at=one.at,
                    kind=one.kind,
                    subject=one.subject,
                )
                for one in fresh[:20]
            ],
        ),
        phrase("They stand in the log as act.unexplained."),
    ]
    found = phrase("Acts without a ground were found")
    to_admins = Letter(found, said, kind="security", page="/log")
    mail.write_to_roles(tx, tenant_id, ["admin"], to_admins)
    where = phrase("Acts without a ground at %(tenant)s", tenant=tenant_id)
    mail.write_to_roles(
        tx, None, ["privacy_officer", "operator"], Letter(where, said, kind="security")
    )
