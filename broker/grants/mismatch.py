"""What stands in a row is not what was signed: somebody wrote SQL by hand, past every rule here.

Found where a login or a copy would be made. Nothing is made then, the tenant and the vendor's
operators are told at once, and the sweep ends the grant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from broker import mail, trail
from broker.errors import VerificationFailed
from broker.grants.model import Grant
from broker.grants.plan import Plan
from broker.grants.telling import page_of
from broker.ids import TenantId
from broker.languages import mark
from broker.letters import Letter, Phrase, phrase
from broker.logs import get_log
from broker.tx import Tx

WHY = mark("what stands in the broker's database is not what was signed")
_log = get_log(__name__)


class GrantAltered(VerificationFailed):
    """`fields` names, in words of ours, what differs from the signed decision."""

    type = "grant-altered"
    why: ClassVar[str] = WHY

    def __init__(self, grant_id: str, fields: Sequence[str]) -> None:
        super().__init__(
            f"{WHY}: {grant_id}, {', '.join(fields)}; nothing is made under it, and it is ended; "
            "make a new request",
            fields=list(fields),
        )
        self.fields = tuple(fields)


def check_plan(grant_id: str, plan: Plan, digest: str | None) -> None:
    """The plan's own words are those of its digest: before a person decides on it, and before a
    scope or a copy is made by it. Raises GrantAltered.
    """
    if plan.digest() != digest:
        raise GrantAltered(grant_id, ["plan"])


def note(tx: Tx, grant: Grant, found: GrantAltered) -> None:
    """Write it down and tell both sides, once for each grant."""
    if grant.altered_at is not None:
        return
    grant.altered_at = tx.at
    tenant_id = TenantId(grant.tenant_id)
    trail.record(tx, tenant_id, "grant.altered", grant.id, {"fields": list(found.fields)})
    _log.error("grant_altered", grant=grant.id, fields=list(found.fields))
    letter = Letter(
        phrase("Alarm: %(grant)s was altered", grant=grant.id),
        [
            phrase(
                "%(grant)s: %(why)s (%(fields)s). Somebody may have changed the broker's database "
                "by hand. Nothing more is made under this grant, and it is ended with its logins "
                "and copies. The signed decision and the log say what was agreed.",
                grant=grant.id,
                why=Phrase(WHY),
                fields=", ".join(found.fields),
            )
        ],
        kind="security",
        page=page_of(grant),
        thread=grant.ticket_id,
    )
    mail.write_to_roles(tx, None, ["operator"], letter)
    mail.write_to_roles(tx, tenant_id, ["admin"], letter)
