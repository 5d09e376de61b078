"""Legal holds: a condemned copy's sealed form is kept for a while, readable to nobody, and then
destroyed by the same machinery as any other.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from broker.audit.integrate import integrate_all
from broker.errors import Conflict, Denied, Invalid, NotFound
from broker.keys import KeyHeld
from broker.labels import read_label
from broker.lateness import list_late
from broker.snapshots import certificates, holds
from broker.snapshots.artifacts import LABEL
from broker.snapshots.holds import Ask, LegalHold
from broker.tx import Actor, system
from tests.stories import control_superuser, is_dead, ready_copy, skip, sweep
from tests.world import World, add_person, enrol

REASON = "a dispute about invoices needs this copy as evidence"


@pytest.fixture
def officer(world: World) -> Actor:
    with world.as_(system("tests")) as tx:
        return add_person(tx, "privacy_officer", None)


def ask(
    world: World, officer: Actor, snapshot_id: str, *, days: int = 30, order: str | None = None
) -> str:
    with world.as_(officer) as tx:
        return holds.ask(tx, snapshot_id, Ask(REASON, days, order), world.broker.queue)


def agree(world: World, hold_id: str, actor: Actor | None = None) -> None:
    with world.as_(actor or world.admin) as tx:
        holds.decide(tx, hold_id, agree=True, queue=world.broker.queue)


def lift(world: World, hold_id: str, actor: Actor) -> None:
    with world.as_(actor) as tx:
        holds.lift(tx, hold_id, world.broker.queue)


def find(world: World, hold_id: str) -> LegalHold:
    with world.as_(system("tests")) as tx:
        return tx.session.get_one(LegalHold, hold_id)


def close(world: World, snapshot_id: str) -> None:
    world.close_ticket(world.grant(world.snapshot(snapshot_id).grant_id).ticket_id)
    world.work()


def test_a_held_copy_loses_all_access_at_once_and_is_destroyed_when_it_is_lifted(
    world: World, officer: Actor
) -> None:
    """The whole of it: G3 and G6 hold under a hold, and G7 and G8 after it."""
    _, snapshot_id = ready_copy(world)
    lease_id, password = world.sandbox_lease(snapshot_id)
    world.work()
    hold_id = ask(world, officer, snapshot_id)
    agree(world, hold_id)
    with world.login(lease_id, password) as session:
        assert not is_dead(session)  # it shortens nothing while the copy lives, nor lengthens
        close(world, snapshot_id)
        assert is_dead(session)
    with pytest.raises(psycopg.OperationalError):
        world.login(lease_id, password)
    snapshot = world.snapshot(snapshot_id)
    assert (snapshot.state, snapshot.stuck_reason) == ("condemned", None)
    ours = "SELECT 1 FROM pg_database WHERE datname = %s"
    assert world.find_on_server(world.test, ours, snapshot.sandbox) == []
    assert any(world.ports.store.list_all(snapshot.prefix))
    with pytest.raises(KeyHeld):
        world.ports.keys.unwrap(
            snapshot.wrapping_key, snapshot.wrapped_key or b"", snapshot.id.encode()
        )
    hold = find(world, hold_id)
    assert hold.closed_at is not None
    with world.ports.store.open(snapshot.prefix + LABEL) as source:
        label = read_label(
            source.read(1000).decode(), snapshot.prefix, world.ports.keys.label_key()
        )
    assert abs(label.end - hold.ends_at) < timedelta(seconds=1)  # so the reaper keeps it as long
    skip(world, timedelta(days=29))
    sweep(world)
    integrate_all(world.broker.database, world.ports.keys)  # no log is late
    with world.as_(system("tests")) as tx:
        assert (list_late(tx, after_s=0), holds.count_held(tx)) == ([], 1)
    assert world.snapshot(snapshot_id).state == "condemned"
    lift(world, hold_id, world.admin)
    world.work()
    assert world.snapshot(snapshot_id).state == "destroyed"
    assert list(world.ports.store.list_all(snapshot.prefix)) == []
    assert not {"hold.asked", "hold.begun", "hold.closed", "hold.ended"} - set(world.kinds())
    with world.as_(world.admin) as tx:
        (certificate,) = certificates.list_of_tenant(tx, world.tenant)
    (told,) = certificates.read_statement(certificate.envelope)["holds"]
    assert (told["hold"], told["basis"]) == (hold_id, "customer")
    assert told["ended"] is not None
    assert REASON not in str(certificates.read_statement(certificate.envelope))


def test_a_hold_ends_by_itself_and_its_copy_is_destroyed(world: World, officer: Actor) -> None:
    _, snapshot_id = ready_copy(world)
    agree(world, ask(world, officer, snapshot_id, days=3))
    close(world, snapshot_id)
    skip(world, timedelta(days=3, minutes=1))
    sweep(world)
    assert world.snapshot(snapshot_id).state == "destroyed"


def test_without_the_customers_decision_nothing_is_kept(world: World, officer: Actor) -> None:
    _, snapshot_id = ready_copy(world)
    hold_id = ask(world, officer, snapshot_id)
    close(world, snapshot_id)
    assert world.snapshot(snapshot_id).state == "destroyed"
    with pytest.raises(Conflict, match="nothing to keep"):
        agree(world, hold_id)
    skip(world, timedelta(days=8))
    sweep(world)
    assert find(world, hold_id).state == "over"


def test_an_authoritys_order_is_in_force_at_once_and_only_the_vendor_lifts_it(
    world: World, officer: Actor
) -> None:
    snapshot_id = world.order(world.approved())
    hold_id = ask(world, officer, snapshot_id, order="Tribunal judiciaire de Paris, 26/01234")
    assert find(world, hold_id).state == "in_force"
    with pytest.raises(Conflict, match="privacy officer"):
        lift(world, hold_id, world.admin)
    lift(world, hold_id, officer)
    assert find(world, hold_id).state == "over"


def test_a_hold_goes_on_only_by_a_new_one(world: World, officer: Actor) -> None:
    _, snapshot_id = ready_copy(world)
    first = ask(world, officer, snapshot_id, days=2)
    agree(world, first)
    close(world, snapshot_id)
    second = ask(world, officer, snapshot_id, days=90)
    with pytest.raises(Conflict, match="waits"):
        ask(world, officer, snapshot_id)
    agree(world, second)
    world.work()
    assert (find(world, first).state, find(world, second).state) == ("over", "in_force")
    skip(world, timedelta(days=80))
    sweep(world)
    assert world.snapshot(snapshot_id).state == "condemned"
    with (
        control_superuser(world) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="is set"),
    ):
        connection.execute("UPDATE legal_hold SET ends_at = ends_at + interval '1 day'")


@pytest.mark.parametrize("wanted", [Ask("short", 30), Ask(REASON, 91), Ask(REASON, 0)])
def test_what_can_not_be_asked(world: World, officer: Actor, wanted: Ask) -> None:
    snapshot_id = world.order(world.approved())
    with world.as_(officer) as tx, pytest.raises(Invalid):
        holds.ask(tx, snapshot_id, wanted, world.broker.queue)


def test_who_asks_and_who_decides(world: World, officer: Actor) -> None:
    snapshot_id = world.order(world.approved())
    for actor in (world.engineer, world.operator, world.admin):
        with pytest.raises(Denied):
            ask(world, actor, snapshot_id)
    hold_id = ask(world, officer, snapshot_id)
    _, stranger = enrol(world, "Another tenant")
    for actor, error in ((officer, Denied), (world.operator, Denied), (stranger, NotFound)):
        with pytest.raises(error):
            agree(world, hold_id, actor)
    with world.as_(world.admin) as tx:
        holds.decide(tx, hold_id, agree=False, queue=world.broker.queue)
    assert find(world, hold_id).state == "refused"
    assert datetime.now(UTC) > find(world, hold_id).asked_at
