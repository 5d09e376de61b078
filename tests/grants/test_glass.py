"""The glass: who sees what of what is open now, and that nothing of it stays."""

from __future__ import annotations

import contextlib
import io
import logging
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa

from broker.errors import Denied, NotFound, TooMany, VerificationFailed
from broker.grants import glass, glass_steps
from broker.grants.glass import GlassLook, Pane
from broker.ids import TenantId, new_id
from broker.keys.passing import Reader, seal
from broker.tx import Actor, system
from tests.world import (
    World,
    add_person,
    enrol,
)


@pytest.fixture(scope="module")
def world(module_world: World) -> World:
    """One for all: these tests look more than they change."""
    return module_world


@pytest.fixture
def seeing(world: World) -> Iterator[World]:
    """A worker that looks at once for whoever asks."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with world.as_(system("tests")) as tx:
                ids = tx.session.scalars(sa.select(GlassLook.id).where(GlassLook.sealed.is_(None)))
                found = list(ids)
            for identity in found:
                glass_steps.look(world.broker.database, world.ports.keys, identity)
            stop.wait(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    yield world
    stop.set()
    thread.join()


def look(world: World, actor: Actor, tenant_id: TenantId | None = None) -> list[Pane]:
    return glass.look(world.broker.database, actor, world.broker.queue, tenant_id, wait_s=20)


@pytest.fixture(scope="module")
def reader(world: World) -> Iterator[tuple[str, str, psycopg.Connection]]:
    """An engineer's session with a statement that holds a value."""
    lease_id, password = world.lease(world.approved())
    world.work()
    value = f"value-{secrets.token_hex(8)}"
    with contextlib.closing(world.login(lease_id, password)) as connection:
        connection.execute("SELECT count(*) FROM companies WHERE name = '%s'" % value)  # noqa: UP031
        yield lease_id, value, connection


def readings(world: World) -> list[dict]:
    return [e for e in world.entries() if e["kind"] == "glass.read"]


def everything_kept(world: World) -> str:
    """Every row of every table of the control database, as text."""
    with world.as_(system("tests")) as tx:
        tables = tx.session.scalars(
            sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ).all()
        return "\n".join(
            row
            for table in tables
            for row in tx.session.scalars(sa.text(f"SELECT t::text FROM {table} t"))
        )


def test_the_customer_sees_sessions_and_statements_and_nothing_of_them_is_kept(
    seeing: World, reader: tuple[str, str, psycopg.Connection], capfd: pytest.CaptureFixture[str]
) -> None:
    world = seeing
    lease_id, value, _ = reader
    logged = io.StringIO()
    handler = logging.StreamHandler(logged)
    logging.getLogger().addHandler(handler)
    (pane,) = look(world, world.admin)
    logging.getLogger().removeHandler(handler)
    (session,) = pane.sessions
    assert (pane.id, pane.problem) == (lease_id, None)
    assert value in (session.statement or "")
    assert (session.origin, session.state) == ("local", "idle")
    assert session.since is not None
    assert value not in everything_kept(world)
    assert value.encode().hex() not in everything_kept(world)
    assert value not in logged.getvalue() + "".join(capfd.readouterr())


def test_an_engineer_sees_the_own_logins_alone_and_no_statement(
    seeing: World, reader: tuple[str, str, psycopg.Connection]
) -> None:
    world = seeing
    (pane,) = look(world, world.engineer)
    assert [session.statement for session in pane.sessions] == [None]
    with world.as_(system("tests")) as tx:
        other = add_person(tx, "lead", None)
        auditor = add_person(tx, "auditor", world.tenant)
    assert look(world, other) == []
    (seen,) = look(world, auditor)
    assert seen.sessions[0].statement
    with pytest.raises(Denied):
        look(world, world.operator)


def test_another_tenant_sees_nothing_and_can_not_tell(
    seeing: World, reader: tuple[str, str, psycopg.Connection]
) -> None:
    """G12."""
    world = seeing
    _, stranger = enrol(world, "Other tenant")
    assert look(world, stranger) == []
    told = []
    for tenant_id in (world.tenant, TenantId(new_id("tnt"))):
        with pytest.raises(NotFound) as refused:
            look(world, stranger, tenant_id)
        told.append(refused.value.message)
    assert told[0] == told[1]
    assert not [e for e in readings(world) if e["actor"].get("id") == stranger.person_id]


def test_each_reading_is_an_entry_once_a_minute_and_too_many_are_refused(
    seeing: World, reader: tuple[str, str, psycopg.Connection]
) -> None:
    world = seeing
    with world.as_(system("tests")) as tx:
        auditor = add_person(tx, "auditor", world.tenant)
    for _ in range(3):
        look(world, auditor)
    look(world, world.engineer)
    said = {(entry["actor"]["id"], entry["facts"]["statements"]) for entry in readings(world)}
    assert {(auditor.person_id, True), (world.engineer.person_id, False)} <= said
    assert [e["actor"]["id"] for e in readings(world)].count(auditor.person_id) == 1

    def look_on() -> None:
        for _ in range(30):
            look(world, auditor)

    with pytest.raises(TooMany) as refused:
        look_on()
    assert refused.value.facts["retry_after_s"] > 0


def test_without_a_worker_nothing_is_known_rather_than_empty(
    world: World, reader: tuple[str, str, psycopg.Connection]
) -> None:
    (pane,) = glass.look(world.broker.database, world.admin, world.broker.queue, wait_s=0.1)
    assert pane.problem == glass.NO_ANSWER


def test_an_answer_opens_for_its_reader_and_question_alone() -> None:
    reader, other = Reader(), Reader()
    sealed = seal(reader.public, b"answer", b"gls_1")
    assert reader.open(sealed, b"gls_1") == b"answer"
    for opener, context in ((other, b"gls_1"), (reader, b"gls_2")):
        with pytest.raises(VerificationFailed):
            opener.open(sealed, context)


def test_two_who_look_at_once_each_get_their_own_answer(
    seeing: World, reader: tuple[str, str, psycopg.Connection]
) -> None:
    world = seeing
    with ThreadPoolExecutor(2) as pool:
        theirs, ours = pool.map(lambda actor: look(world, actor), (world.admin, world.engineer))
    assert theirs[0].sessions[0].statement
    assert ours[0].sessions[0].statement is None
