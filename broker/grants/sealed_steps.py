"""What a worker makes and seals to whoever waits for it: the steps that tokens and sessions share.

Read the row, make outside any transaction, confirm under the lock of the grant: an end and a
confirmation see each other, and what is not confirmed is dropped here, where alone it exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from broker import quarantine, retries
from broker.bell import ring
from broker.db import Busy, Database
from broker.grants import grounds, leases
from broker.grants.grounds import UNUSABLE
from broker.grants.leases import get_lease
from broker.grants.model import Grant, Lease
from broker.grants.states import LEASE_ISSUED
from broker.jobs import Queue
from broker.keys import Signer
from broker.quarantine import MarkKeeper
from broker.retries import FAILURES, describe
from broker.states import StateConflict, advance
from broker.tx import Tx, system

_WORKER = system("worker")
Work = TypeVar("Work")
Made = TypeVar("Made")


class KeyPort(Signer, MarkKeeper, Protocol):
    """What tokens and sessions need of the key port."""


def issue(
    database: Database,
    lease_id: str,
    *,
    read: Callable[[], Work | None],
    make: Callable[[Work], Made],
    confirm: Callable[[Work, Made], None],
) -> None:
    """One worker at a time; a failure to read or make is noted and tried again by the sweep."""
    try:
        with database.exclusive(f"lease {lease_id}"):
            try:
                work = read()
                if work is None:
                    return
                made = make(work)
            except FAILURES as error:
                _note_failure(database, lease_id, error)
                return
            confirm(work, made)
    except Busy:
        return


def find_reason_against(grant: Grant) -> str | None:
    """Why nothing more is made under it, or None."""
    if grant.state != "approved":
        return f"its grant is {grant.state}"
    return "its grant was paused" if grant.paused_at is not None else None


def may_make(tx: Tx, port: KeyPort, lease: Lease, prove: Callable[[], None], queue: Queue) -> bool:
    """Whether `prove`, by `grounds`, finds that the lease is allowed; it is ended if not.

    Raises Quarantined.
    """
    held = quarantine.find_refusal(tx, port)
    if held is not None:
        raise held
    try:
        prove()
    except UNUSABLE as found:
        grounds.note(tx, lease.grant_id, found)
        leases.end(tx, lease, found.why, queue)
        return False
    return True


def note_issued(
    tx: Tx, lease: Lease, values: Mapping[str, object], facts: Mapping[str, str] | None = None
) -> None:
    """It counts from here, and whoever waits is called; nothing if the lease has ended."""
    try:
        advance(tx, lease, LEASE_ISSUED, values=values, facts=facts)
    except StateConflict:
        return
    retries.note_success(lease)
    ring(tx, lease.id)


def _note_failure(database: Database, lease_id: str, error: Exception) -> None:
    with database.begin(_WORKER) as tx:
        lease = get_lease(tx, lease_id)
        if lease.state == "pending":
            retries.note_failure(lease, tx.at, describe(error))
            ring(tx, lease_id)
