"""What the person for whom a copy was made says that they took out of it, by hand.

No machine can look for that: a screen that was photographed, rows that were pasted elsewhere. So
the one who could have done it says so in a closed choice, and it stands in the log and in the
certificate as *attested*, apart from what was *verified*. Saying it of a copy that lives is "I am
done": `lifecycle.attest` ends it.

What must stay true: only ever added to; one who says that something was kept has the customer told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import mail, people, trail
from broker.db import Base
from broker.errors import Conflict, Denied, Invalid
from broker.ids import TenantId
from broker.languages import mark
from broker.letters import Letter, Phrase, phrase
from broker.snapshots.model import Snapshot
from broker.snapshots.ordering import check_readable, get_snapshot
from broker.tx import Tx

NOTHING, ERASED, KEPT = "nothing", "erased", "kept"
SENTENCES: Final = {
    NOTHING: mark("took nothing out of the sandbox"),
    ERASED: mark("took something out of the sandbox, and erased all of it"),
    KEPT: mark("still keeps something that came out of the sandbox"),
}


class Attestation(Base):
    __tablename__ = "attestation"
    id: Mapped[int] = mapped_column(sa.Identity(always=True), primary_key=True)
    snapshot_id: Mapped[str] = mapped_column(sa.ForeignKey("snapshot.id"))
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    took: Mapped[str]
    at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class AttestationView:
    took: str
    at: datetime

    @property
    def sentence(self) -> str:
        return SENTENCES[self.took]


def add(tx: Tx, snapshot_id: str, took: str) -> Snapshot:
    """Keep what the actor says of their own copy. Raises Invalid, Denied, Conflict.

    The caller ends a copy that lives (`lifecycle.attest`).
    """
    snapshot = get_snapshot(tx, snapshot_id)
    people.check(tx, "snapshot:attest", TenantId(snapshot.tenant_id))
    if tx.actor.person_id != snapshot.requester_id:
        raise Denied(f"{snapshot.id} was made for another person, who says what was taken out")
    if took not in SENTENCES:
        choice = ", ".join(SENTENCES)
        raise Invalid("say what was taken out of the copy", fields={"took": f"one of {choice}"})
    tx.session.refresh(snapshot, with_for_update=True)
    before = list_said(tx, snapshot.id)
    if before and before[-1].took == took:
        raise Conflict("you have said just that of this copy already")
    tx.session.add(
        Attestation(snapshot_id=snapshot.id, person_id=tx.actor.person_id, took=took, at=tx.at)
    )
    tx.session.flush()
    trail.record(tx, TenantId(snapshot.tenant_id), "snapshot.attested", snapshot.id, {"took": took})
    if took == KEPT:
        _tell(tx, snapshot)
    return snapshot


def _tell(tx: Tx, snapshot: Snapshot) -> None:
    tenant_id = TenantId(snapshot.tenant_id)
    letter = Letter(
        phrase("Something of your copy %(copy)s was kept", copy=snapshot.id),
        [
            phrase(
                "The person for whom the copy %(copy)s of your database was made says: “%(said)s”.",
                copy=snapshot.id,
                said=Phrase(SENTENCES[KEPT]),
            ),
            phrase(
                "What the broker made of the copy is destroyed as ever; what was taken out by hand "
                "it can't reach. Ask your vendor what it is, and to say so on the copy's page once "
                "it is erased."
            ),
        ],
        kind="security",
        page=f"/copies/{snapshot.id}",
    )
    mail.write_to_roles(tx, tenant_id, ["admin"], letter)


def list_said(tx: Tx, snapshot_id: str) -> Sequence[Attestation]:
    query = sa.select(Attestation).where(Attestation.snapshot_id == snapshot_id)
    return tx.session.scalars(query.order_by(Attestation.id)).all()


def list_views(tx: Tx, snapshot_id: str) -> Sequence[AttestationView]:
    """Raises NotFound, the same for none and for another tenant's (G12)."""
    check_readable(tx, snapshot_id)
    return [AttestationView(row.took, row.at) for row in list_said(tx, snapshot_id)]
