"""Remnants: what was found of a copy after it was destroyed.

    a later look finds something ─┐
    the janitor finds something  ─┴─▶ remnant condemned ─▶ destroyed ─▶ a new certificate
                                            └─▶ the old certificate is revoked

A remnant is destroyed by the same machinery as a copy, under an id of its own; the snapshot's state
does not move. What must stay true: a snapshot has one condemned remnant at most, and from the
instant at which there is one no certificate of it is believed, nor issued, before it is destroyed.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from broker import mail, retries
from broker.errors import NOT_THERE, NotFound
from broker.ids import TenantId, new_id
from broker.jobs import Queue
from broker.letters import Letter, phrase
from broker.snapshots.model import Certificate, Remnant, Revocation, Snapshot
from broker.snapshots.ordering import get_snapshot
from broker.states import record_birth
from broker.tx import Tx


def condemn_remnant(
    tx: Tx, snapshot_id: str, kinds: Sequence[str], found_by: str, queue: Queue
) -> Remnant | None:
    """Condemn what was found of a destroyed copy; None when one is condemned already.

    The snapshot's row is locked: a certificate is issued before this, or not at all.
    """
    snapshot = tx.session.get_one(Snapshot, snapshot_id, with_for_update=True)
    if snapshot.state != "destroyed" or find_open(tx, snapshot_id) is not None:
        return None
    certificate = find_certificate(tx, snapshot_id)
    remnant = Remnant(
        id=new_id("rmn"),
        tenant_id=snapshot.tenant_id,
        state="condemned",
        snapshot_id=snapshot_id,
        certificate_id=certificate.id if certificate else None,
        kinds=sorted(set(kinds)),
        found_at=tx.at,
    )
    retries.hint(remnant, tx.at)
    facts = {"snapshot": snapshot_id, "kinds": ", ".join(remnant.kinds), "by": found_by}
    record_birth(tx, remnant, "remnant.condemned", facts=facts)
    queue.put(tx, "destroy_snapshot", remnant.id, queue="copies")
    if certificate is not None:
        queue.put(tx, "revoke_certificate", remnant.id, queue="copies")
    _tell(tx, remnant)
    return remnant


def _tell(tx: Tx, remnant: Remnant) -> None:
    tenant_id = TenantId(remnant.tenant_id)
    wrong = (
        phrase(
            "The certificate %(certificate)s was wrong, and is revoked by a signed statement. A "
            "new one follows when looks find nothing any more.",
            certificate=remnant.certificate_id,
        )
        if remnant.certificate_id
        else phrase("A certificate follows when looks find nothing any more.")
    )
    found = phrase(
        "The copy %(copy)s of your database counted as destroyed. A part of it was found since: "
        "%(kinds)s. It is being destroyed as %(remnant)s.",
        copy=remnant.snapshot_id,
        kinds=", ".join(remnant.kinds),
        remnant=remnant.id,
    )
    letter = Letter(
        phrase("A part of the destroyed copy %(copy)s was found", copy=remnant.snapshot_id),
        [found, wrong],
        kind="security",
        page=f"/copies/{remnant.snapshot_id}",
    )
    mail.write_to_roles(tx, tenant_id, ["admin"], letter)


def get_ended(tx: Tx, identity: str) -> tuple[Snapshot, Remnant | None]:
    """A snapshot by its id, or a remnant's snapshot and the remnant. Raises NotFound."""
    if not identity.startswith("rmn_"):
        return get_snapshot(tx, identity), None
    remnant = tx.session.get(Remnant, identity)
    if remnant is None:
        raise NotFound(NOT_THERE)
    return get_snapshot(tx, remnant.snapshot_id), remnant


def find_open(tx: Tx, snapshot_id: str) -> Remnant | None:
    return tx.session.scalar(
        sa.select(Remnant).where(Remnant.snapshot_id == snapshot_id, Remnant.state == "condemned")
    )


def find_certificate(tx: Tx, snapshot_id: str) -> Certificate | None:
    """The one that no remnant has proved wrong, whether or not its revocation is signed yet."""
    wrong = sa.select(Remnant.id).where(Remnant.certificate_id == Certificate.id)
    return tx.session.scalar(
        sa.select(Certificate).where(Certificate.snapshot_id == snapshot_id, ~wrong.exists())
    )


def list_unrevoked(tx: Tx, limit: int) -> Sequence[str]:
    """Remnants that proved a certificate wrong whose revocation is not signed yet."""
    revoked = sa.select(Revocation.certificate_id)
    return tx.session.scalars(
        sa.select(Remnant.id)
        .where(Remnant.certificate_id.is_not(None), Remnant.certificate_id.not_in(revoked))
        .limit(limit)
    ).all()
