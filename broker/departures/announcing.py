"""A departure is announced for a day, and may be taken back until then."""

from __future__ import annotations

from datetime import datetime, timedelta

from broker import mail, people, tenants
from broker.departures import closing
from broker.departures.erasing import find_term
from broker.departures.model import CANCEL, Departure, DepartureView, find_departure, get_departure
from broker.errors import Conflict, Denied, Invalid
from broker.ids import TenantId, new_id
from broker.letters import Letter, phrase
from broker.states import advance, record_birth
from broker.tx import Tx

NOTICE = timedelta(days=30)  # that the vendor owes its customer, to take its data home
FARTHEST = timedelta(days=366)


def announce(tx: Tx, tenant_id: TenantId, leaves_at: datetime | None) -> DepartureView:
    """An admin of the tenant, or the vendor, says when it leaves; None is now.

    Raises Invalid, and Conflict when it was announced already.
    """
    people.check(tx, "tenant:leave", tenant_id)
    tenant = tenants.get_tenant(tx, tenant_id)
    tx.session.refresh(tenant, with_for_update=True)
    if find_departure(tx, tenant_id) is not None:
        raise Conflict("that was announced already; take it back to name another day")
    day = leaves_at or tx.at
    _check_day(tx, day)
    row = Departure(
        id=new_id("dep"),
        tenant_id=tenant_id,
        state="announced",
        side=tx.actor.side,
        announced_at=tx.at,
        leaves_at=day,
    )
    facts = {"leaves_at": day.isoformat(), "side": row.side}
    record_birth(tx, row, "departure.announced", facts=facts)
    _tell(tx, row)
    return view(tx, row)


def _check_day(tx: Tx, day: datetime) -> None:
    first = tx.at + NOTICE if tx.actor.side == "vendor" else tx.at
    if not first <= day <= tx.at + FARTHEST:
        words = f"between {first:%Y-%m-%d} and {tx.at + FARTHEST:%Y-%m-%d}"
        raise Invalid(f"the day must lie {words}", fields={"leaves_at": words})


def cancel(tx: Tx, tenant_id: TenantId) -> DepartureView:
    """Whose side announced it takes it back. Raises StateConflict once it has begun."""
    people.check(tx, "tenant:leave", tenant_id)
    row = get_departure(tx, tenant_id)
    if row.side != tx.actor.side:
        raise Denied(f"it was announced by the {row.side}, who alone takes it back")
    advance(tx, row, CANCEL)
    letter = Letter(
        phrase("The departure was taken back"),
        [phrase("What was announced for %(day)s does not take place.", day=row.leaves_at)],
        kind="security",
        page=_page(row),
    )
    mail.write_to_roles(tx, tenant_id, ["admin"], letter)
    return view(tx, row)


def read(tx: Tx, tenant_id: TenantId) -> DepartureView:
    """Raises NotFound when none was announced."""
    return view(tx, get_departure(tx, tenant_id))


def view(tx: Tx, row: Departure) -> DepartureView:
    term = find_term(tx)
    erases = row.closed_at + term.span if row.closed_at and term else None
    alive = closing.list_alive(tx, TenantId(row.tenant_id)) if row.state == "closing" else []
    return DepartureView(
        id=row.id,
        tenant_id=row.tenant_id,
        state=row.state,
        side=row.side,
        announced_at=row.announced_at,
        leaves_at=row.leaves_at,
        closed_at=row.closed_at,
        erased_at=row.erased_at,
        erases_after=erases if row.state in {"closed", "erasing"} else None,
        alive=alive,
    )


def _tell(tx: Tx, row: Departure) -> None:
    letter = Letter(
        phrase("Your organisation leaves"),
        [
            phrase(
                "It was announced that your organisation leaves on %(day)s. Then every access and "
                "every copy ends, and nothing begins any more. Until the data is erased, after the "
                "legal term, you can read, verify and download all of it on that page; who "
                "announced it can take it back until then.",
                day=row.leaves_at,
            )
        ],
        kind="security",
        page=_page(row),
    )
    mail.write_to_roles(tx, TenantId(row.tenant_id), ["admin"], letter)


def _page(row: Departure) -> str:
    return f"/tenants/{row.tenant_id}/departure"
