"""Which consents of the customer a grant rests on: live access on one, copies on another.

Held where something is asked or approved, looked at again where it is used, and again by the worker
that makes it; a sweep ends what rests on none (`broker.lifecycle`).
"""

from __future__ import annotations

from typing import ClassVar

from broker.consents import ledger
from broker.consents.ledger import ConsentMissing
from broker.consents.purposes import BY_KIND
from broker.grants.model import Grant
from broker.grants.narrowing import Windows
from broker.ids import TenantId
from broker.languages import mark
from broker.tx import Tx

WHY = mark("the customer's consent was withdrawn or has lapsed")


class ConsentGone(ConsentMissing):
    """What is to be made rests on a consent that ended meanwhile."""

    why: ClassVar[str] = WHY


def needed(windows: Windows) -> frozenset[str]:
    """The purposes of what is asked or given. Pure.

    >>> sorted(needed(Windows(3600, 0)))
    ['live_access']
    """
    lengths = {
        "live": windows.live_s,
        "copy": windows.copy_s,
        "platform": windows.platform_s,
        "storage": windows.storage_s,
    }
    return frozenset(BY_KIND[kind] for kind, length_s in lengths.items() if length_s > 0)


def needed_by(grant: Grant) -> frozenset[str]:
    """Of a request what was asked, of a grant what was given."""
    if grant.state == "requested":
        asked = (grant.asked_live_s, grant.asked_copy_s)
        return needed(Windows(*asked, grant.asked_platform_s, grant.asked_storage_s))
    given = (grant.given_live_s, grant.given_copy_s)
    return needed(Windows(*given, grant.given_platform_s, grant.given_storage_s))


def check_held(tx: Tx, tenant_id: str, windows: Windows) -> None:
    """Before something is asked or approved. Raises ConsentMissing."""
    tenant = TenantId(tenant_id)
    ledger.hold(tx, tenant)
    ledger.check_live(tx, tenant, needed(windows))


def check_kind(tx: Tx, grant: Grant, kind: str) -> None:
    """Before a grant is used for this kind of access. Raises ConsentGone."""
    missing = ledger.list_missing(tx, TenantId(grant.tenant_id), [BY_KIND[kind]])
    if missing:
        raise ConsentGone(
            f"{WHY}: {', '.join(missing)}; nothing is made under {grant.id}", purposes=missing
        )
