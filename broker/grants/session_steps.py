"""Starting sessions on tenants' objects, in a worker, which alone may ask the token service.

Like `token_steps`: the session is started outside any transaction and sealed to the key of who
waits for it; it counts as issued, and can be fetched, only once the row says so under the lock of
its grant. A session of a grant that ended meanwhile is dropped here, where alone it exists. Once a
session was asked for, its lease is not over before the session's own end, whatever became of the
answer (`token_digest` says so): an answer that was lost may have been a session all the same.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime

from broker import quarantine, retries
from broker.bell import ring
from broker.db import Busy, Database
from broker.faults import crash_point
from broker.grants import grounds, leases, requests, sessions
from broker.grants.grounds import UNUSABLE
from broker.grants.leases import get_lease
from broker.grants.model import Grant, Lease
from broker.grants.states import LEASE_ISSUED
from broker.grants.token_steps import KeyPort
from broker.jobs import Queue
from broker.keys.intake import seal_login, waiting_context
from broker.retries import FAILURES, describe
from broker.secret import Secret
from broker.states import StateConflict, advance
from broker.storages import Storage
from broker.stores.sts import Session, SessionRefused, Sessions
from broker.tx import Tx, system

_WORKER = system("worker")


@dataclass(frozen=True, slots=True)
class _Work:
    """A pending session's row as read in a transaction that is over."""

    lease_id: str
    bucket: str
    prefix: str
    ends_at: datetime
    sealed_to: bytes


def issue(
    database: Database, port: KeyPort, lease_id: str, service: Sessions | None, queue: Queue
) -> None:
    """Start a pending session; a failure is noted and tried again by the sweep."""
    try:
        with database.exclusive(f"lease {lease_id}"):
            try:
                work = _read_work(database, port, lease_id, queue)
                if work is None:
                    return
                session = _start(service, work)
            except FAILURES as error:
                _note_failure(database, lease_id, error)
                return
            crash_point("session-started")
            _confirm(database, work, session, queue)
    except Busy:
        return


def _start(service: Sessions | None, work: _Work) -> Session:
    if service is None:
        raise SessionRefused("no token service is set; set BROKER_STS__ROLE for the workers")
    session = service.start(work.lease_id, work.bucket, work.prefix, sessions.LIFE_S)
    if session.expires_at > work.ends_at:
        raise SessionRefused("the session would outlive its lease: the clocks differ too much")
    return session


def _read_work(database: Database, port: KeyPort, lease_id: str, queue: Queue) -> _Work | None:
    """None when there is nothing to start any more. Raises Quarantined."""
    with database.begin(_WORKER) as tx:
        lease = get_lease(tx, lease_id)
        if lease.state != "pending":
            return None
        grant = requests.get_grant(tx, lease.grant_id)
        storage = tx.session.get_one(Storage, lease.storage_id)
        why = _find_reason_against(tx, lease, grant, storage)
        if why is not None:
            leases.end(tx, lease, why, queue)
            return None
        held = quarantine.find_refusal(tx, port)
        if held is not None:
            raise held
        try:
            grounds.prove(tx, port, grant, "storage")
            plan = requests.get_plan(tx, grant.id, grant.given_digest)
            grounds.check_session(grant, lease, plan, (storage.bucket, storage.prefix))
        except UNUSABLE as found:
            grounds.note(tx, grant.id, found)
            leases.end(tx, lease, found.why, queue)
            return None
        # From here on a session may exist. Random, for a digest that could be guessed would let
        # strangers end it, as a token is ended by whoever holds it.
        lease.token_digest = secrets.token_bytes(32)
        return _Work(
            lease.id, storage.bucket, storage.prefix, lease.ends_at, lease.sealed_to or b""
        )


def _find_reason_against(tx: Tx, lease: Lease, grant: Grant, storage: Storage) -> str | None:
    if grant.state != "approved":
        return f"its grant is {grant.state}"
    if grant.paused_at is not None:
        return "its grant was paused"
    if storage.removed_at is not None:
        return "its storage was removed"
    if (lease.ends_at - tx.at).total_seconds() < sessions.LIFE_S:
        return "no session is as short as what is left of it"
    return None


def to_text(session: Session) -> Secret[str]:
    """The form in which AWS's own tools take credentials from a program (`credential_process`)."""
    return Secret(
        json.dumps(
            {
                "Version": 1,
                "AccessKeyId": session.key_id,
                "SecretAccessKey": session.secret.reveal(),
                "SessionToken": session.token.reveal(),
                "Expiration": session.expires_at.isoformat(),
            }
        )
    )


def _confirm(database: Database, work: _Work, session: Session, queue: Queue) -> None:
    """The grant is locked: an end and this see each other. A session not confirmed is dropped."""
    sealed = seal_login(work.sealed_to, to_text(session), waiting_context(work.lease_id))
    with database.begin(_WORKER) as tx:
        lease = get_lease(tx, work.lease_id)
        grant = requests.get_grant(tx, lease.grant_id, lock=True)
        if grant.state != "approved" or grant.paused_at is not None:
            leases.end(tx, lease, f"its grant is {grant.state}", queue)
            return
        try:
            advance(tx, lease, LEASE_ISSUED, values={"sealed": sealed})
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
