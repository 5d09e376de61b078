"""Looking at tickets: after a hint, and by the poll that makes every hint unnecessary.

A hint is followed by a fetch; only what was fetched is believed. "No such ticket" and "not yours"
count only while the probe ticket reads well, and not when they are the answer for every ticket. One
ticket whose answer can't be understood keeps no other from being looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import sqlalchemy as sa

from broker import asking, lifecycle
from broker.db import Busy, Database
from broker.errors import BrokerError, Invalid
from broker.grants.model import Grant
from broker.jobs import Queue
from broker.logs import get_log
from broker.settings import Times
from broker.tickets import (
    FetchedTicket,
    TicketSystem,
    TicketSystemUnavailable,
    commands,
    hints,
    mirror,
    reach,
)
from broker.tickets.mirror import Ticket
from broker.tx import Tx
from broker.tx import system as system_actor

_ACTOR = system_actor("tickets")
_HINTS = 200
_ROUNDS = 10
NO_FENCE = 0  # following hints changes nothing twice, so it asks for no leader
_IDLE = timedelta(hours=1)  # between two looks at a ticket on which nothing rests
_ALL_REFUSED_FROM = (
    3  # tickets: from here on "none of them exists" is the system's fault, not theirs
)
_log = get_log(__name__)
Looks = Mapping[str, FetchedTicket | None]


def take_hint(tx: Tx, queue: Queue, name: str, external_id: str) -> None:
    """Somebody says that a ticket changed: look at it soon, and believe nothing before."""
    hints.keep_hint(tx, name, external_id)
    if not queue.is_waiting(tx, "follow_hints"):  # one follows all: many would do it many times
        queue.put_sweep(tx, "follow_hints", NO_FENCE)


def follow_hints(
    database: Database,
    queue: Queue,
    tickets: TicketSystem,
    times: Times,
    *,
    answering: bool = False,
) -> int:
    """Look at every ticket that a webhook named and, where `answering`, answer what engineers wrote
    there to us; what can't be looked at now is put off.

    One at a time: two would look at the same tickets. Whoever finds another at it leaves what came
    meanwhile to that one, which asks once more when it has let go.
    """
    followed = 0
    for _ in range(_ROUNDS):
        try:
            with database.exclusive(f"hints of {tickets.name}"):
                followed += _follow_due(database, queue, tickets, times, answering=answering)
        except Busy:
            break
        with database.begin(_ACTOR) as tx:
            if not hints.list_hints(tx, tickets.name, 1):
                break
    return followed


def _follow_due(
    database: Database, queue: Queue, tickets: TicketSystem, times: Times, *, answering: bool
) -> int:
    """Until none is due: what comes meanwhile need not wait for another job."""
    followed = 0
    for _ in range(_ROUNDS):
        with database.begin(_ACTOR) as tx:
            due = hints.list_hints(tx, tickets.name, _HINTS)
        if not due:
            break
        try:
            looks, _ = _look(tickets, [hint.external_id for hint in due])
        except TicketSystemUnavailable as error:
            _log.warning("ticket_system_unavailable", reason=error.message)
            with database.begin(_ACTOR) as tx:
                hints.put_off(tx, tickets.name)
            break
        if not _refuses_all(looks):  # else it is for the poll to say what that means
            _take_all(database, queue, tickets.name, looks, times)
            if answering:
                looks = _answer_all(database, queue, tickets, looks, times)
        with database.begin(_ACTOR) as tx:
            followed_now = [hint for hint in due if hint.external_id in looks]
            hints.drop_hints(tx, tickets.name, followed_now)
            unread = [hint.external_id for hint in due if hint.external_id not in looks]
            hints.put_off(tx, tickets.name, unread)
        followed += len(looks)
    return followed


def _answer_all(
    database: Database, queue: Queue, tickets: TicketSystem, looks: Looks, times: Times
) -> Looks:
    """Those of which the comments were read; a system that fails meanwhile is asked again later."""
    answered = dict(looks)
    for external_id, fetched in looks.items():
        if fetched is not None and not fetched.closed:
            try:
                asking.answer_commands(database, queue, tickets, external_id, times)
            except TicketSystemUnavailable as error:
                _log.warning("comments_not_read", ticket=external_id, reason=error.message)
                del answered[external_id]
    return answered


def poll_when_due(database: Database, queue: Queue, tickets: TicketSystem, times: Times) -> int:
    """`poll`, unless it was done lately, is under way, or the system is left alone for a while."""
    with database.begin(_ACTOR) as tx:
        due = reach.claim_poll(tx, tickets.name)
        hints.forget_old(tx)
        commands.forget_old(tx)
    return poll(database, queue, tickets, times) if due else 0


def poll(database: Database, queue: Queue, tickets: TicketSystem, times: Times) -> int:
    """Look at every ticket on which something rests; returns at how many. A system that is down
    changes nothing but what is shown of it.
    """
    with database.begin(_ACTOR) as tx:
        due = _list_due(tx, tickets.name)
    try:
        tickets.probe()
        looks, wait_s = _look(tickets, due)
        _check_not_all_refused(looks)
        if not wait_s:
            tickets.probe()
    except TicketSystemUnavailable as error:
        _log.error("ticket_system_unavailable", reason=error.message)
        with database.begin(_ACTOR) as tx:
            wait_s = int(error.facts.get("retry_after_s", 0))
            reach.note_unreached(tx, tickets.name, error.message, wait_s)
        return 0
    _take_all(database, queue, tickets.name, looks, times)
    with database.begin(_ACTOR) as tx:
        reach.note_reached(tx, tickets.name, wait_s or times.poll_tickets_s)
    return len(looks)


def look_at(
    database: Database, queue: Queue, tickets: TicketSystem, external_id: str, times: Times
) -> None:
    """One look now, for whoever is about to ask for access. Raises TicketSystemUnavailable."""
    looks, _ = _look(tickets, [external_id])
    if external_id not in looks:
        raise TicketSystemUnavailable("the ticket system does not say well what this ticket is")
    _take_all(database, queue, tickets.name, looks, times)


def _list_due(tx: Tx, name: str) -> Sequence[str]:
    """With something open on them, always; the others now and then; the longest unseen first."""
    rests = (
        sa.select(Grant.id)
        .where(Grant.ticket_id == Ticket.id, Grant.state.in_(("requested", "approved")))
        .exists()
    )
    return tx.session.scalars(
        sa.select(Ticket.external_id)
        .where(
            Ticket.system == name,
            Ticket.ended_at.is_(None),
            sa.or_(Ticket.seen_at <= tx.at - _IDLE, rests),
        )
        .order_by(Ticket.seen_at)
    ).all()


def _look(tickets: TicketSystem, external_ids: Sequence[str]) -> tuple[Looks, int]:
    """What the system says of these now, and how many seconds it wants to be left alone before the
    rest of them; left out is that of which it says nothing well.

    Raises TicketSystemUnavailable when it answers for none.
    """
    looks: dict[str, FetchedTicket | None] = {}
    try:
        for batch in _batches(external_ids, tickets.at_once):
            shown = tickets.find_many(batch) if len(batch) > 1 else {}
            looks |= shown
            for external_id in batch:
                if external_id not in shown:
                    looks |= _look_at_one(tickets, external_id)
        if None in looks.values():
            tickets.probe()
    except TicketSystemUnavailable as error:
        seen = {one: fetched for one, fetched in looks.items() if fetched is not None}
        if "retry_after_s" not in error.facts or not seen:
            raise
        return seen, int(error.facts["retry_after_s"])
    return looks, 0


def _refuses_all(looks: Looks) -> bool:
    return len(looks) >= _ALL_REFUSED_FROM and not any(looks.values())


def _check_not_all_refused(looks: Looks) -> None:
    if _refuses_all(looks):
        raise TicketSystemUnavailable(
            f"the ticket system says of all {len(looks)} tickets that they are not there; "
            "see what its login may read"
        )


def _look_at_one(tickets: TicketSystem, external_id: str) -> Looks:
    """Empty when nothing is said well of this ticket, though the probe reads well."""
    try:
        return {external_id: tickets.find(external_id)}
    except Invalid:
        return {external_id: None}  # no system has a ticket of such an id
    except TicketSystemUnavailable as error:
        if "retry_after_s" in error.facts:
            raise
        tickets.probe()
        _log.warning("ticket_unreadable", ticket=external_id, reason=error.message)
        return {}


def _batches(external_ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (external_ids[at : at + size] for at in range(0, len(external_ids), size))


def _take_all(database: Database, queue: Queue, name: str, looks: Looks, times: Times) -> None:
    """Most tickets are as they were, and are noted together; each of the others by itself."""
    with database.begin(_ACTOR) as tx:
        same = mirror.note_unchanged(tx, name, looks)
    for external_id, fetched in looks.items():
        if external_id in same:
            continue
        try:
            with database.begin(_ACTOR) as tx:
                seen = mirror.record_look(
                    tx, name, external_id, fetched, missing_s=times.missing_ticket_s
                )
                lifecycle.take_look_at_ticket(tx, seen, queue)
        except (BrokerError, sa.exc.DBAPIError) as error:  # one that fails keeps no other
            _log.error("look_not_taken", ticket=external_id, error=type(error).__name__)
