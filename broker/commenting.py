"""Sends what is to be said on tickets: see `tickets/comments.py`."""

from __future__ import annotations

from broker.db import Database
from broker.logs import get_log
from broker.tickets import CommentRefused, TicketSystem, TicketSystemUnavailable, comments
from broker.tickets.comments import Due
from broker.tx import system as system_actor

_ACTOR = system_actor("tickets")
_log = get_log(__name__)


def send_due(database: Database, tickets: TicketSystem, public_url: str) -> int:
    """Send what is due, each noted by itself; returns how many went out. The first that the system
    does not take for now keeps the rest for the next time.
    """
    with database.begin(_ACTOR) as tx:
        due = comments.take_due(tx, tickets.name)
    sent = 0
    for one in due:
        try:
            tickets.comment(one.external_id, one.key, _text(one, public_url))
        except CommentRefused as error:
            _note_failure(database, one, error.message, for_good=True)
        except TicketSystemUnavailable as error:
            _note_failure(database, one, error.message, for_good=False)
            break
        else:
            with database.begin(_ACTOR) as tx:
                comments.note_sent(tx, one.id)
            sent += 1
    return sent


def _text(one: Due, public_url: str) -> str:
    return f"{one.text}\n{public_url.rstrip('/')}{one.path}"


def _note_failure(database: Database, one: Due, reason: str, *, for_good: bool) -> None:
    _log.warning("comment_not_sent", key=one.key, reason=reason, given_up=for_good)
    with database.begin(_ACTOR) as tx:
        comments.note_failure(tx, one.id, reason, for_good=for_good)
