"""The sweep: each departure goes on when its time has come, in a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from broker.db import Database
from broker.departures import closing, erasing
from broker.departures.model import Departure
from broker.ids import TenantId
from broker.jobs import Queue
from broker.keys import Signer
from broker.logs import get_log
from broker.removing import StillAlive
from broker.retries import FAILURES, describe
from broker.tx import Tx, system

_ACTOR = system("sweep")
_DUE = sa.text("""
    SELECT id FROM departure
     WHERE (state = 'announced' AND leaves_at <= :at) OR state IN ('closing', 'closed', 'erasing')
     ORDER BY id
""")
_log = get_log(__name__)


def follow(database: Database, queue: Queue, signer: Signer) -> int:
    """Returns how many went on."""
    with database.begin(_ACTOR) as tx:
        due = list(tx.session.scalars(_DUE, {"at": tx.at}))
    return sum(_try(database, one, queue, signer) for one in due)


def _try(database: Database, departure_id: str, queue: Queue, signer: Signer) -> bool:
    try:
        with database.begin(_ACTOR) as tx:
            row = tx.session.get_one(Departure, departure_id, with_for_update=True)
            return _STEPS[row.state](tx, row, queue, signer)
    except StillAlive:
        return False  # the page says what; looked at again
    except FAILURES as error:
        _log.error("departure_held_up", id=departure_id, reason=describe(error))
        return False


def _begin(tx: Tx, row: Departure, queue: Queue, _: Signer) -> bool:
    if row.leaves_at > tx.at:
        return False
    closing.begin(tx, row, queue)
    return True


def _close(tx: Tx, row: Departure, _queue: Queue, _signer: Signer) -> bool:
    closing.close(tx, row)
    return True


def _erase(tx: Tx, row: Departure, _: Queue, signer: Signer) -> bool:
    term = erasing.find_term(tx)
    if term is None or row.closed_at is None or row.closed_at + term.span > tx.at:
        return False
    if erasing.list_backups_alive(tx, TenantId(row.tenant_id)):
        return False  # what was copied for backups dies first; it is late on its own page
    erasing.erase(tx, row, term, signer)
    return True


def _finish(tx: Tx, row: Departure, _queue: Queue, _signer: Signer) -> bool:
    term = erasing.find_term(tx)
    return term is not None and erasing.finish(tx, row, term)


def _stay(_tx: Tx, _row: Departure, _queue: Queue, _signer: Signer) -> bool:
    return False


_Step = Callable[[Tx, Departure, Queue, Signer], bool]
_STEPS: dict[str, _Step] = {
    "announced": _begin,
    "closing": _close,
    "closed": _erase,
    "erasing": _finish,
    "erased": _stay,
    "cancelled": _stay,
}
