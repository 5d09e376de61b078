"""Our own logins on registered servers: each holds what it needs, and nothing else.

Asked of the servers now, not of the last preflight: a right that a DBA gave since, or took away, is
told here. Only a host with the keyring can ask, for only it can sign in there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from broker import tenants
from broker.db import Database
from broker.doctor.line import Line, bad, ok, warn
from broker.engines import ServerUnavailable, Target
from broker.engines.postgres.preflight import Finding, check_login
from broker.errors import BrokerError
from broker.grants.targets import LoginOpener, live_target, server_target
from broker.keys.building import build_keys
from broker.keys.intake import INTAKE_KEY
from broker.settings import Settings
from broker.tenants import TenantDatabase, TestServer
from broker.tx import system

_ACTOR = system("doctor")
_WHAT = "our logins"


@dataclass(frozen=True, slots=True)
class _Place:
    """A registered server; `target` raises VerificationFailed where its row was changed."""

    id: str
    noun: str  # as the command line calls it: `databases` of tenants, or `servers`
    target: Callable[[], Target]


def checks(database: Database, settings: Settings) -> dict[str, Callable[[], Iterator[Line]]]:
    return {_WHAT: lambda: _check(database, settings)}


def _check(database: Database, settings: Settings) -> Iterator[Line]:
    if settings.keys.keyring is None:
        yield ok(_WHAT, "looked at where a worker runs; there is no keyring here")
        return
    keys = build_keys(settings.keys)
    with database.begin(_ACTOR) as tx:
        published = tenants.find_published_key(tx, INTAKE_KEY)
    if published != keys.intake_public():
        yield warn(_WHAT, "can't be opened by this keyring", "see published keys, above")
        return
    places = _list_places(database, keys)
    lines = [line for place in places for line in _look(place)]
    yield from lines
    if not lines:
        yield ok(_WHAT, f"{len(places)} looked at: each holds what it needs and nothing else")


def _list_places(database: Database, keys: LoginOpener) -> list[_Place]:
    with database.begin(_ACTOR) as tx:
        databases = tx.session.scalars(sa.select(TenantDatabase).order_by(TenantDatabase.id)).all()
        shared = sa.select(TestServer).where(TestServer.kind == "shared")
        servers = tx.session.scalars(shared.order_by(TestServer.id)).all()
    live = [_Place(row.id, "databases", partial(live_target, keys, row)) for row in databases]
    return live + [_Place(row.id, "servers", partial(server_target, keys, row)) for row in servers]


def _look(place: _Place) -> Iterator[Line]:
    """Nothing for a login that is as it should be."""
    what, todo = f"{_WHAT}: {place.id}", f"broker {place.noun} check {place.id}"
    try:
        findings = check_login(place.target(), live=place.noun == "databases")
    except ServerUnavailable as error:
        yield warn(what, error.message, todo)
        return
    except BrokerError as error:
        yield bad(what, error.message, todo)
        return
    if findings:
        verdict = bad if any(finding.severity == "fatal" for finding in findings) else warn
        yield verdict(what, _say(findings), f"the SQL that mends it: {todo}")


def _say(findings: list[Finding]) -> str:
    return "; ".join(finding.what for finding in findings)
