"""Sessions that a worker keeps: lent again only while nothing speaks against it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import psycopg
import pytest

from broker.embedded import EmbeddedServer
from broker.engines import ServerUnavailable, Target
from broker.engines.postgres import warm
from broker.engines.postgres.warm import WarmSessions
from broker.secret import Secret
from tests.conftest import admin, superuser

DEADLINE_S = 20


@pytest.fixture
def target(live_server: EmbeddedServer) -> Target:
    return superuser(live_server)


@pytest.fixture
def sessions() -> Iterator[WarmSessions]:
    made = WarmSessions()
    yield made
    made.close()


def process_of(sessions: WarmSessions, target: Target) -> int:
    with sessions(target) as connection:
        return connection.info.backend_pid


def test_a_session_that_came_back_is_lent_again(sessions: WarmSessions, target: Target) -> None:
    assert process_of(sessions, target) == process_of(sessions, target)


def test_two_at_a_time_get_two_sessions(sessions: WarmSessions, target: Target) -> None:
    with sessions(target) as one, sessions(target) as other:
        assert one.info.backend_pid != other.info.backend_pid


def test_a_session_in_which_anything_failed_is_not_lent_again(
    sessions: WarmSessions, target: Target
) -> None:
    first = process_of(sessions, target)
    with pytest.raises(psycopg.errors.DivisionByZero), sessions(target) as connection:
        connection.execute("SELECT 1 / 0")
    assert process_of(sessions, target) != first


def test_a_session_that_the_server_ended_is_not_lent_again(
    sessions: WarmSessions, target: Target, live_server: EmbeddedServer
) -> None:
    first = process_of(sessions, target)
    with admin(live_server) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [first])
    assert process_of(sessions, target) != first


def test_another_password_or_other_options_never_get_a_session_that_was_opened_with_these(
    sessions: WarmSessions, target: Target
) -> None:
    first = process_of(sessions, target)
    with (
        pytest.raises(ServerUnavailable),
        sessions(dataclasses.replace(target, password=Secret("x"))),
    ):
        pass
    with sessions(target, options={"lock_timeout": "1s"}) as connection:
        assert connection.info.backend_pid != first


def test_a_session_is_lent_for_a_bounded_time_only(
    sessions: WarmSessions, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = process_of(sessions, target)
    monkeypatch.setattr(warm, "LIFE_S", 0)
    assert process_of(sessions, target) != first


def test_a_session_that_nobody_uses_is_closed(
    sessions: WarmSessions,
    target: Target,
    live_server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warm, "IDLE_S", 0.2)
    process = process_of(sessions, target)
    until = time.monotonic() + DEADLINE_S
    with admin(live_server) as connection:
        while connection.execute(
            "SELECT FROM pg_stat_activity WHERE pid = %s", [process]
        ).fetchone():
            assert time.monotonic() < until, "the session is still there"
