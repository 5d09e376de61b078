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

from broker.db import Database
from broker.faults import crash_point
from broker.grants import grounds, leases, requests, sealed_steps, sessions, shown_plans
from broker.grants.leases import get_lease
from broker.grants.model import Grant, Lease
from broker.grants.sealed_steps import KeyPort
from broker.jobs import Queue
from broker.keys.intake import seal_login, waiting_context
from broker.secret import Secret
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
    sealed_steps.issue(
        database,
        lease_id,
        read=lambda: _read_work(database, port, lease_id, queue),
        make=lambda work: _start(service, work),
        confirm=lambda work, session: _confirm(database, work, session, queue),
    )


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

        def prove() -> None:
            grounds.prove(tx, port, grant, "storage")
            plan = shown_plans.get_plan(tx, grant.id, grant.given_digest)
            grounds.check_session(grant, lease, plan, (storage.bucket, storage.prefix))

        if not sealed_steps.may_make(tx, port, lease, prove, queue):
            return None
        # From here on a session may exist. Random, for a digest that could be guessed would let
        # strangers end it, as a token is ended by whoever holds it.
        lease.token_digest = secrets.token_bytes(32)
        return _Work(
            lease.id, storage.bucket, storage.prefix, lease.ends_at, lease.sealed_to or b""
        )


def _find_reason_against(tx: Tx, lease: Lease, grant: Grant, storage: Storage) -> str | None:
    why = sealed_steps.find_reason_against(grant)
    if why is not None:
        return why
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
    crash_point("session-started")
    sealed = seal_login(work.sealed_to, to_text(session), waiting_context(work.lease_id))
    with database.begin(_WORKER) as tx:
        lease = get_lease(tx, work.lease_id)
        grant = requests.get_grant(tx, lease.grant_id, lock=True)
        why = sealed_steps.find_reason_against(grant)
        if why is not None:
            leases.end(tx, lease, why, queue)
            return
        sealed_steps.note_issued(tx, lease, {"sealed": sealed})
