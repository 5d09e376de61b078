"""A drill on its server: intent, the attack and its end, a look, confirm (see `drills`)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from broker import quarantine, retries, tenants
from broker.bell import ring
from broker.db import Busy, Database
from broker.engines import Target
from broker.engines.postgres import leases as roles
from broker.engines.postgres import revoking, scopes
from broker.engines.postgres.attack import Attack
from broker.engines.postgres.leases import LeaseRole
from broker.engines.postgres.looks import session
from broker.engines.postgres.revoking import Ended
from broker.engines.postgres.scopes import Scope
from broker.engines.postgres.scram import make_verifier, new_password
from broker.faults import crash_point
from broker.grants.drills import FAILED, PASSED, get_drill
from broker.grants.lease_scopes import drop_scope_if_unused
from broker.grants.lease_work import KeyPort
from broker.grants.model import LiveScope
from broker.grants.targets import live_target
from broker.labels import Label
from broker.retries import FAILURES, describe
from broker.states import advance
from broker.tx import system

_WORKER = system("worker")
_LIFE = timedelta(minutes=15)  # by its own label and VALID UNTIL, whatever becomes of us
_LEFT = "it broke off before it was over; what it had made was ended"


@dataclass(frozen=True, slots=True)
class _Work:
    drill_id: str
    role: str
    scope: str
    target: Target
    ends_at: datetime
    broke_off: bool


@dataclass(frozen=True, slots=True)
class _Outcome:
    """`survivor` is what outlived the end, if anything did."""

    asked_at: datetime
    ended: Ended
    survivor: str | None


def run(database: Database, port: KeyPort, drill_id: str) -> None:
    """Attack, revoke, time; what fails is noted, and then only cleaned up, until it is gone."""
    try:
        with database.exclusive(f"drill {drill_id}"):
            try:
                work = _begin(database, port, drill_id)
                if work is None:
                    return
                crash_point("drill-begun")
                outcome = None if work.broke_off else _fight(database, port, work)
                _clean_up(database, port, work)
                _confirm(database, drill_id, outcome)
            except FAILURES as error:
                _note_failure(database, drill_id, error)
    except Busy:
        return


def _begin(database: Database, port: KeyPort, drill_id: str) -> _Work | None:
    """The intent: role and scope are written down before they are made."""
    with database.begin(_WORKER) as tx:
        drill = get_drill(tx, drill_id)
        if drill.state != "ordered":
            return None
        broke_off = drill.begun_at is not None
        held = quarantine.find_refusal(tx, port)
        if held is not None and not broke_off:
            raise held
        if not broke_off:
            drill.begun_at = tx.at
            row = LiveScope(name=drill.scope_name, database_id=drill.database_id, planned_at=tx.at)
            tx.session.add(row)
        registered = tenants.get_database(tx, drill.database_id)
        return _Work(
            drill_id=drill_id,
            role=drill.role_name,
            scope=drill.scope_name,
            target=live_target(port, registered),
            ends_at=(drill.begun_at or tx.at) + _LIFE,
            broke_off=broke_off,
        )


def _fight(database: Database, port: KeyPort, work: _Work) -> _Outcome:
    key, password = port.label_key(), new_password()
    lease = LeaseRole(
        role=work.role,
        scope=work.scope,
        verifier=make_verifier(password),
        valid_until=work.ends_at,
        label_text=Label("lease", work.drill_id, work.ends_at, work.role).text(key),
    )
    label = Label("scope", work.drill_id, work.ends_at, work.scope).text(key)
    with database.shared(f"scope {work.scope}"):  # nobody drops it meanwhile
        scopes.make_scope(work.target, Scope(work.scope, ()), label, keyed=False)
        roles.issue(work.target, lease)
        crash_point("drill-armed")
        with Attack(replace(work.target, user=work.role, password=password)) as attack:
            with session(work.target) as connection:
                attack.await_all(connection)
                asked_at = revoking.now(connection)
            ended = revoking.revoke(work.target, work.role)
    return _Outcome(asked_at, ended, attack.find_survivor(ended.login_refused_at))


def _clean_up(database: Database, port: KeyPort, work: _Work) -> None:
    """Raises whatever keeps role or scope from being gone: then the drill is not over."""
    revoking.revoke(work.target, work.role)
    drop_scope_if_unused(database, port, work.scope)
    with database.begin(_WORKER) as tx:
        row = tx.session.get_one(LiveScope, work.scope)
        if row.dropped_at is None:
            raise scopes.ScopeInUse(row.stuck_reason or f"the scope {work.scope} still stands")


def _confirm(database: Database, drill_id: str, outcome: _Outcome | None) -> None:
    with database.begin(_WORKER) as tx:
        drill = get_drill(tx, drill_id)
        retries.note_success(drill)
        problem = _LEFT if outcome is None else outcome.survivor
        if outcome is None or problem is not None:
            advance(tx, drill, FAILED, values={"problem": problem})
        else:
            instants = {
                "asked_at": outcome.asked_at,
                "login_refused_at": outcome.ended.login_refused_at,
                "last_session_dead_at": outcome.ended.last_session_dead_at,
                "role_gone_at": outcome.ended.role_gone_at,
            }
            facts = {name: at.isoformat() for name, at in instants.items()}
            advance(tx, drill, PASSED, values=instants, facts=facts)
        ring(tx, drill.database_id)


def _note_failure(database: Database, drill_id: str, error: Exception) -> None:
    with database.begin(_WORKER) as tx, contextlib.suppress(LookupError):
        drill = get_drill(tx, drill_id)
        if drill.state == "ordered":
            retries.note_failure(drill, tx.at, describe(error))
            ring(tx, drill.database_id)
