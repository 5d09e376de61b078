"""Quarantine: a restored control database, or a clock that jumped, decides nothing by itself.

Guarantees that must not bend meanwhile: G3 and G14.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import sqlalchemy as sa
from flask import Flask

from broker import bootstrap, janitor, lifecycle, quarantine, watching, worker
from broker.doctor import control
from broker.errors import Conflict, Denied
from broker.http import create_app
from broker.mail import Mail
from broker.quarantine import Quarantine
from broker.settings import Control
from broker.tx import system
from tests.janitor_world import FAR, OURS, SANDBOXES, is_dead, list_open, live, make_login
from tests.stories import control_database, skip
from tests.web.browser import sign_in
from tests.world import APP_ROLE, OWNER_ROLE, ControlTemplate, World


def beat(world: World) -> bool:
    return watching.is_sound(world.ports, world.broker.settings)


def held(world: World) -> Quarantine | None:
    with world.as_(system("tests")) as tx:
        return quarantine.find_open(tx)


def sweep_ends(world: World) -> int:
    return worker._sweep_ends(world.broker, world.ports, 0)


def lift(world: World, grants: str = "keep") -> int:
    row = held(world)
    assert row is not None
    with world.as_(world.operator) as tx:
        return lifecycle.lift_quarantine(tx, row.id, grants, world.broker.queue)


@contextmanager
def restored(world: World, template: ControlTemplate, backup: str) -> Iterator[World]:
    """The same broker on the control database that was backed up: as its operator restores it."""
    passwords = ControlTemplate(template.server, backup, template.passwords)
    control = Control(
        dsn=passwords.dsn(APP_ROLE, backup), owner_dsn=passwords.dsn(OWNER_ROLE, backup)
    )
    broker = bootstrap.build(world.broker.settings.model_copy(update={"control": control}))
    ports = bootstrap.build_ports(broker)
    worker.register(broker, ports, None)
    old, world.broker, world.ports = (world.broker, world.ports), broker, ports
    try:
        yield world
    finally:
        broker.close()
        world.broker, world.ports = old


@contextmanager
def backed_up(world: World, template: ControlTemplate) -> Iterator[str]:
    world.broker.database.close()
    name = control_database(world)
    with ControlTemplate(template.server, name, template.passwords).clone() as backup:
        yield backup


def test_after_a_restore_nothing_is_made_or_ended_until_a_person_says_so(
    world: World, control_template: ControlTemplate
) -> None:
    """Yesterday's record: it knows a login that was asked for, and nothing of today's."""
    waiting = world.approved()
    asked, _ = world.lease(waiting)
    assert beat(world)
    with backed_up(world, control_template) as backup:
        assert beat(world)
        grant_id = world.approved()
        lease_id, password = world.lease(grant_id)
        snapshot_id = world.order(grant_id)
        world.work()
        with (
            world.login(lease_id, password) as session,
            restored(world, control_template, backup),
        ):
            world.issue(asked)  # also before the first beat
            assert "in quarantine" in (world.find_lease(asked).stuck_reason or "")
            assert not beat(world)
            world.work()
            assert world.find_lease(asked).state == "pending"
            assert sweep_ends(world) == 0
            assert janitor.look_everywhere(world.ports) == 0
            assert not is_dead(session)
            found = {find.kind: find for find in list_open(world)}
            assert set(found) == {"lease", "scope", "sandbox", "artifact", "key"}
            assert "ends by itself at" in (found["lease"].stuck_reason or "")
            assert world.ports.keys.list_names("snapshot/") == [f"snapshot/{snapshot_id}"]

            lift(world)
            assert beat(world)
            # `asked` still uses the scope; a copy's places are ended one after the other.
            rounds = [janitor.look_everywhere(world.ports) for _ in range(3)]
            assert sum(rounds) == 4
            assert is_dead(session)
            world.issue(asked)
            assert world.find_lease(asked).state == "issued"
    assert world.find_on_server(world.test, SANDBOXES) == []
    assert world.ports.keys.list_names("snapshot/") == []


@pytest.mark.long
def test_restored_once_more_a_quarantine_that_was_lifted_before_lifts_nothing(
    world: World, control_template: ControlTemplate
) -> None:
    """The backup holds a lifted quarantine; what it says of then is no word about now."""
    assert beat(world)
    skip(world, timedelta(hours=-1))
    assert not beat(world)
    lift(world)
    assert beat(world)
    first = held(world)
    with backed_up(world, control_template) as backup:
        assert beat(world)
        with restored(world, control_template, backup):
            skip(world, timedelta(hours=-1))
            assert not beat(world)
            second = held(world)
    assert first is None
    assert second is not None
    assert second.why == ["restored"]


def test_a_clock_that_ran_ahead_ends_nothing_and_what_is_past_its_own_label_ends(
    world: World,
) -> None:
    """Mass revocation on a jump; and beside it one login whose own end has come (G3, G14)."""
    lease_id, password = world.lease(world.approved())
    world.work()
    past = datetime.now(UTC) - timedelta(seconds=5)
    over, _ = make_login(world, live(world), ends_at=past)
    assert beat(world)
    skip(world, timedelta(days=1))
    with world.login(lease_id, password) as session:
        sweep_ends(world)
        row = held(world)
        assert row is not None
        assert row.why == ["clock-ahead"]
        assert not is_dead(session)
        assert world.find_lease(lease_id).state == "issued"
    roles = {name for (name,) in world.find_on_server(world.live, OURS)}
    assert over not in roles
    assert world.find_lease(lease_id).role_name in roles


def test_what_a_person_ends_in_quarantine_ends(world: World) -> None:
    lease_id, password = world.lease(world.approved())
    world.work()
    assert beat(world)
    skip(world, timedelta(hours=-2))
    assert not beat(world)
    with world.login(lease_id, password) as session:
        with world.as_(world.admin) as tx:
            lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
        world.work()
        assert is_dead(session)
    assert world.find_lease(lease_id).state == "revoked"


@pytest.mark.long
def test_no_copy_is_made_in_quarantine_and_it_is_made_when_that_is_lifted(world: World) -> None:
    grant_id = world.approved()
    assert beat(world)
    skip(world, timedelta(hours=-2))
    assert not beat(world)
    snapshot_id = world.order(grant_id)
    world.work()
    snapshot = world.snapshot(snapshot_id)
    assert (snapshot.state, snapshot.attempts) == ("ordered", 0)
    assert "in quarantine" in (snapshot.stuck_reason or "")
    assert world.find_on_server(world.test, SANDBOXES) == []
    lift(world)
    assert beat(world)


@pytest.mark.long
def test_a_keyring_without_its_mark_is_a_quarantine(world: World) -> None:
    for _ in range(2):
        assert beat(world)
    folder = world.broker.settings.keys.keyring
    assert folder is not None
    (folder / "mark").unlink()
    assert not beat(world)
    lift(world)
    assert beat(world)
    (folder / "mark").write_bytes(b"nonsense")
    assert not beat(world)
    row = held(world)
    assert row is not None
    assert row.why == ["mark-unreadable"]


def test_lifting_is_an_operators_and_everybody_is_told(world: World) -> None:
    grant_id = world.approved()
    assert beat(world)
    skip(world, timedelta(hours=-2))
    assert not beat(world)
    row = held(world)
    assert row is not None
    for actor in (world.engineer, world.admin):
        with pytest.raises(Denied), world.as_(actor) as tx:
            lifecycle.lift_quarantine(tx, row.id, "keep", world.broker.queue)
    assert lift(world, "end") == 1
    with pytest.raises(Conflict), world.as_(world.operator) as tx:
        lifecycle.lift_quarantine(tx, row.id, "keep", world.broker.queue)
    assert world.grant(grant_id).state == "ended"
    assert world.kinds().count("quarantine.lifted") == 1
    with world.as_(system("tests")) as tx:
        texts = {
            actor: tx.session.scalars(
                sa.select(Mail.text).where(Mail.person_id == actor.person_id)
            ).all()
            for actor in (world.operator, world.admin)
        }
    assert any("went back" in text for text in texts[world.operator])
    assert any(grant_id in text and "has been ended" in text for text in texts[world.admin])


@pytest.mark.long
def test_the_operator_sees_it_on_the_page_and_lifts_what_was_shown(world: World) -> None:
    app: Flask = create_app(world.broker)
    operator, engineer = sign_in(app, world, world.operator), sign_in(app, world, world.engineer)
    assert beat(world)
    assert "in quarantine" not in operator.page("/late")
    make_login(world, live(world))
    skip(world, timedelta(hours=-2))
    assert not beat(world)
    janitor.look_everywhere(world.ports)
    page = operator.page("/late")
    assert "clock went back" in page
    assert f"ends by itself at {FAR:%Y-%m-%d}" in page
    assert "in quarantine" in operator.page("/")
    assert engineer.act("/late/lift", id="qrt_none", grants="keep").status_code == 403
    assert operator.submit("/late", "/late/lift").status_code == 422
    assert operator.submit("/late", "/late/lift", grants="keep").status_code == 303
    assert held(world) is None
    assert "Lift the quarantine" not in operator.page("/late")


@pytest.mark.long
def test_the_doctor_says_so_and_the_database_itself_lifts_none_without_a_person(
    world: World,
) -> None:
    assert beat(world)
    skip(world, timedelta(hours=-2))
    assert not beat(world)
    (line,) = control._check_quarantine(world.broker.database)
    assert (line.verdict, line.todo) == ("bad", "broker quarantine show")
    assert "went back" in line.says

    statements = (
        "UPDATE quarantine SET lifted_at = now(), grants = 'keep'",
        "INSERT INTO quarantine (id, began_at, why) VALUES ('qrt_2', now(), '{}')",
        "DELETE FROM quarantine",
    )
    dsn = world.broker.settings.control.dsn.reveal()
    for statement in statements:
        with psycopg.connect(dsn) as connection, pytest.raises(psycopg.Error):
            connection.execute(statement)
