"""Looking at tickets: after a hint, and by the poll that makes every hint unnecessary.

A hint is followed by a fetch; only what was fetched is believed. "No such ticket" and "not yours"
count only while the probe ticket reads well, and not when they are the answer for every ticket.
"""

from __future__ import annotations

from broker import lifecycle
from broker.db import Database
from broker.errors import Invalid
from broker.jobs import Queue
from broker.logs import get_log
from broker.settings import Times
from broker.tickets import FetchedTicket, TicketSystem, TicketSystemUnavailable, mirror
from broker.tx import Tx
from broker.tx import system as system_actor

_ACTOR = system_actor("tickets")
_HINTS = 200
_ROUNDS = 10
NO_FENCE = 0  # following hints changes nothing twice, so it asks for no leader
_ALL_REFUSED_FROM = (
    3  # tickets: from here on "none of them exists" is the system's fault, not theirs
)
_log = get_log(__name__)


def take_hint(tx: Tx, queue: Queue, name: str, external_id: str) -> None:
    """Somebody says that a ticket changed: look at it soon, and believe nothing before."""
    mirror.keep_hint(tx, name, external_id)
    if not queue.is_waiting(tx, "follow_hints"):  # one follows all: many would do it many times
        queue.put_sweep(tx, "follow_hints", NO_FENCE)


def follow_hints(database: Database, queue: Queue, tickets: TicketSystem, times: Times) -> int:
    """Fetch every ticket that a webhook named; what could not be fetched stays."""
    followed = 0
    for _ in range(_ROUNDS):  # what comes meanwhile need not wait for another job
        with database.begin(_ACTOR) as tx:
            hints = mirror.list_hints(tx, tickets.name, _HINTS)
        if not hints:
            break
        for external_id, at in hints:
            try:
                fetched = _find(tickets, external_id)
            except TicketSystemUnavailable as error:
                _log.warning("ticket_system_unavailable", reason=error.message)
                return followed
            _take(database, queue, tickets.name, external_id, fetched, times)
            with database.begin(_ACTOR) as tx:
                mirror.drop_hint(tx, tickets.name, external_id, at)
            followed += 1
    return followed


def poll(database: Database, queue: Queue, tickets: TicketSystem, times: Times) -> int:
    """Look at every open ticket; returns how many. A system that is down changes nothing."""
    with database.begin(_ACTOR) as tx:
        known = mirror.list_open(tx, tickets.name)
    try:
        tickets.probe()
        looks = {external_id: _find(tickets, external_id) for external_id in known}
        tickets.probe()
    except TicketSystemUnavailable as error:
        _log.error("ticket_system_unavailable", reason=error.message)
        return 0
    if len(looks) >= _ALL_REFUSED_FROM and not any(looks.values()):
        _log.error("ticket_system_refuses_everything", tickets=len(looks))
        return 0
    for external_id, fetched in looks.items():
        _take(database, queue, tickets.name, external_id, fetched, times)
    return len(looks)


def look_at(
    database: Database, queue: Queue, tickets: TicketSystem, external_id: str, times: Times
) -> None:
    """One look now, for whoever is about to ask for access. Raises TicketSystemUnavailable."""
    fetched = _find(tickets, external_id)
    _take(database, queue, tickets.name, external_id, fetched, times)


def _find(tickets: TicketSystem, external_id: str) -> FetchedTicket | None:
    try:
        found = tickets.find(external_id)
    except Invalid:
        return None  # no system has a ticket of such an id
    if found is None:
        tickets.probe()
    return found


def _take(
    database: Database,
    queue: Queue,
    name: str,
    external_id: str,
    fetched: FetchedTicket | None,
    times: Times,
) -> None:
    with database.begin(_ACTOR) as tx:
        seen = mirror.record_look(tx, name, external_id, fetched, missing_s=times.missing_ticket_s)
        lifecycle.take_look_at_ticket(tx, seen, queue)
