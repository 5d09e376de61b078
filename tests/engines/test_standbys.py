"""The end of a lease on a real standby (G3): a lease's role is there too (cases 15 and 37)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from broker.embedded import EmbeddedServer
from broker.engines import Target
from broker.engines.postgres import holding, standbys, together
from broker.engines.postgres.leases import issue
from broker.engines.postgres.looks import look, session
from broker.engines.postgres.preflight import check_live
from broker.engines.postgres.revoking import revoke
from broker.engines.postgres.scopes import Scope, make_scope
from broker.engines.postgres.standbys import Unconfirmed
from broker.reap import reap_all, reap_standby
from tests.engines.registered import (
    LABEL_KEY,
    Lease,
    Registered,
    label_text,
    masked_scope,
    new_lease,
    new_scope_name,
    register,
    wait_for,
)
from tests.engines.standby import lagging, replayed, standby_of
from tests.engines.test_revoking import NOTHING, is_dead

pytestmark = pytest.mark.long  # a base backup, and many waits for its replay


@dataclass(frozen=True)
class Pair:
    """A database, its standby, and a scope that is on both."""

    primary: Registered
    standby: Registered
    scope: Scope

    @property
    def target(self) -> Target:
        """The primary, with its standby registered."""
        return self.primary.target

    def lease(self) -> Lease:
        lease = new_lease(self.scope.name)
        issue(self.target, lease.role)
        wait_for(lambda: replayed(self.primary.server, self.standby.server), "it is there too")
        return lease


@pytest.fixture(scope="module")
def pair(live_server: EmbeddedServer, servers_folder: Path) -> Iterator[Pair]:
    live = register(live_server)
    scope = masked_scope(new_scope_name())
    make_scope(live.target, scope, label_text(scope.name, "scope"), keyed=True)
    with standby_of(live_server, servers_folder / f"standby-{live_server.folder.name}") as server:
        there = Registered(server, replace(live.target, host=server.host))
        here = replace(live.target, standbys=((server.host, server.port),))
        yield Pair(Registered(live_server, here), there, scope)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standbys, "REPLAY_S", 0.2)


def test_a_session_on_the_standby_ends_with_its_lease(pair: Pair) -> None:
    """The primary does not see it, and dropping the role would not end it."""
    lease = pair.lease()
    with contextlib.closing(pair.standby.connect(lease)) as victim:
        victim.execute("BEGIN")
        victim.execute("DECLARE c CURSOR FOR SELECT email FROM customer")
        victim.execute("FETCH 1 FROM c")
        ended = revoke(pair.target, lease.role.role)
        assert is_dead(victim)
    assert ended.login_refused_at <= ended.last_session_dead_at <= ended.role_gone_at
    assert [place.standby for place in ended.places] == [False, True]
    assert look(pair.standby.target, lease.role.role) == NOTHING
    with pytest.raises(psycopg.OperationalError):
        pair.standby.connect(lease)
    assert revoke(pair.target, lease.role.role).found_absent


def test_a_session_that_hides_on_the_standby_is_ended_there(pair: Pair) -> None:
    lease = pair.lease()
    ends: list[str] = []

    def connect() -> None:
        try:
            with pair.standby.connect(lease, options="-c post_auth_delay=600") as connection:
                connection.execute("SELECT email FROM customer")
            ends.append("read")
        except psycopg.Error as error:
            ends.append(str(error))

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    with session(pair.standby.target) as there:
        wait_for(lambda: standbys.list_hidden_sessions(there), "it is past its login")
    revoke(pair.target, lease.role.role)
    thread.join(20)
    assert len(ends) == 1
    assert ends != ["read"]


def test_an_end_is_unconfirmed_until_a_standby_that_lags_has_replayed_it(
    pair: Pair, impatient: None
) -> None:
    """Its login still works there, so nothing is called revoked; its role stays, without rights."""
    lease = pair.lease()
    with lagging(pair.standby.server):
        with pytest.raises(Unconfirmed, match="it lags: it has replayed up to") as refusal:
            revoke(pair.target, lease.role.role)
        assert "1 of 1 standbys" in refusal.value.message
        assert "pg_terminate_backend" in refusal.value.facts["sql"]
        victim = pair.standby.connect(lease)
        with pytest.raises(psycopg.OperationalError):
            pair.primary.connect(lease)
    with contextlib.closing(victim):
        wait_for(lambda: replayed(pair.primary.server, pair.standby.server), "it caught up")
        revoke(pair.target, lease.role.role)
        assert is_dead(victim)
    assert look(pair.standby.target, lease.role.role) == NOTHING


def test_a_role_that_is_gone_on_the_primary_alone_is_unconfirmed(
    pair: Pair, impatient: None
) -> None:
    """A worker died after the drop, or a DBA dropped it: what is open on the standby reads on."""
    lease = pair.lease()
    with contextlib.closing(pair.standby.connect(lease)) as victim:
        with pair.primary.admin() as connection:
            connection.execute(f"DROP ROLE {lease.role.role}")
        wait_for(lambda: replayed(pair.primary.server, pair.standby.server), "the drop is there")
        with pytest.raises(Unconfirmed, match="sessions 1"):
            revoke(pair.target, lease.role.role)
        assert not is_dead(victim)
    wait_for(
        lambda: look(pair.standby.target, lease.role.role) == NOTHING, "the last session is over"
    )
    assert revoke(pair.target, lease.role.role).found_absent


def test_a_standby_that_does_not_answer_or_is_another_server_confirms_nothing(
    pair: Pair, test_server: EmbeddedServer
) -> None:
    """The one that answers is cleared all the same."""
    nowhere = ("/nonexistent", 5432)
    another = (test_server.host, test_server.port)
    itself = (pair.primary.server.host, pair.primary.server.port)
    target = replace(pair.target, standbys=(nowhere, another, itself, *pair.target.standbys))
    lease = pair.lease()
    with contextlib.closing(pair.standby.connect(lease)) as victim:
        with pytest.raises(Unconfirmed) as refusal:
            revoke(target, lease.role.role)
        assert is_dead(victim)
    assert len(refusal.value.facts["standbys"]) == 3
    assert "3 of 4 standbys" in refusal.value.message
    assert "no standby any more" in refusal.value.message
    assert look(pair.target, lease.role.role).role_exists
    revoke(pair.target, lease.role.role)


def test_a_pause_ends_what_is_open_on_the_standby(pair: Pair, impatient: None) -> None:
    lease = pair.lease()
    with contextlib.closing(pair.standby.connect(lease)) as victim:
        with lagging(pair.standby.server), pytest.raises(Unconfirmed):
            holding.hold(pair.target, lease.role.role)
        wait_for(lambda: replayed(pair.primary.server, pair.standby.server), "it caught up")
        holding.hold(pair.target, lease.role.role)
        assert is_dead(victim)
    revoke(pair.target, lease.role.role)


def test_the_reaper_ends_sessions_on_a_standby_also_while_its_primary_is_away(
    pair: Pair,
) -> None:
    """G14: past its end by its own label, and not before; and both by one command."""
    lease, later = pair.lease(), datetime.now(UTC) + timedelta(hours=2)
    name = lease.role.role
    with contextlib.closing(pair.standby.connect(lease)) as victim:
        early = reap_standby(pair.standby.target, LABEL_KEY, datetime.now(UTC))
        assert not early.ended
        assert not is_dead(victim)
        late = reap_standby(pair.standby.target, LABEL_KEY, later)
        assert is_dead(victim)
    (host, port), *_ = pair.target.standbys
    assert late.ended == [f"1 sessions of {name} on {host}:{port}"]
    assert not reap_standby(pair.standby.target, LABEL_KEY, later).ended
    away = replace(pair.target, host="/nonexistent")
    with contextlib.closing(pair.standby.connect(lease)) as victim:
        done = reap_all(away, LABEL_KEY)
        assert not is_dead(victim)
    assert list(done.failed) == ["round"]
    revoke(pair.target, name)


def test_ends_with_standbys_are_left_to_the_recipe_for_one(pair: Pair) -> None:
    lease = pair.lease()
    with pytest.raises(together.NotPlain):
        together.revoke(pair.target, [lease.role.role], open_session=session)
    revoke(pair.target, lease.role.role)


def test_preflight_tells_of_streams_that_nobody_registered_and_of_standbys_that_fail(
    pair: Pair,
) -> None:
    def found(target: Target) -> dict[str, str]:
        return {f.code: f.what for f in check_live(target, ("app", "public"))}

    codes = ("replicas", "standby-unconfirmed")
    assert not set(codes) & set(found(pair.target))
    unnamed = found(replace(pair.target, standbys=()))
    assert "0 standbys are registered" in unnamed["replicas"]
    failing = found(replace(pair.target, standbys=(("/nonexistent", 5432),)))
    assert "/nonexistent:5432" in failing["standby-unconfirmed"]
