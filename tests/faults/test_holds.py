"""Legal holds against everything that ends a copy, and against each other, at the same moment.

Whatever comes first: a held copy is readable to nobody, a hold is never promised for a copy whose
key is dying, and when no hold is in force any more the copy is destroyed by the same steps as ever.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from broker import janitor, lateness, lifecycle, sweeps
from broker.errors import Conflict
from broker.keys import KeyHeld, KeyUnavailable
from broker.keys.keyring import Keyring
from broker.reap import reap_store
from broker.snapshots import destroying, holds, making
from broker.snapshots.holds import Ask, LegalHold
from broker.snapshots.model import Snapshot
from broker.tx import Actor, system
from tests.faults.behind import Behind
from tests.stories import skip
from tests.world import World, add_person

pytestmark = pytest.mark.long

REASON = "a dispute about invoices needs this copy as evidence"
ORDER = "Tribunal judiciaire de Paris, 26/01234"
CLOSING = ("after-leases", "after-data-key", "after-artifact", "after-sandbox", "after-looks")
DESTROYING = ("after-leases", "key-erased", "after-data-key", "after-sandbox", "looks-made")


@pytest.fixture(scope="module")
def officer(behind: Behind) -> Actor:
    with behind.world.as_(system("tests")) as tx:
        return add_person(tx, "privacy_officer", None)


@pytest.fixture(autouse=True)
def the_true_time_afterwards(behind: Behind) -> Iterator[None]:
    """And a grant, where the time that passed has ended it."""
    clock = behind.world.broker.database._clock
    yield
    behind.world.broker.database._clock = behind.broker.database._clock = clock
    if behind.world.grant(behind.grant_id).state == "ended":
        behind.grant_id = behind.world.approved()


def pass_by(behind: Behind, span: timedelta) -> None:
    """For both ways to the control database."""
    skip(behind.world, span)
    behind.broker.database._clock = behind.world.broker.database._clock


def ask(
    world: World, officer: Actor, snapshot_id: str, *, days: int = 30, order: str | None
) -> str:
    with world.as_(officer) as tx:
        return holds.ask(tx, snapshot_id, Ask(REASON, days, order), world.broker.queue)


def lift(world: World, officer: Actor, hold_id: str) -> None:
    with world.as_(officer) as tx:
        holds.lift(tx, hold_id, world.broker.queue)


def state(world: World, hold_id: str) -> str:
    with world.as_(system("tests")) as tx:
        return tx.session.get_one(LegalHold, hold_id).state


def closed(behind: Behind, officer: Actor, *, days: int = 30) -> tuple[Snapshot, str]:
    """A condemned copy that is held: no login, no sandbox, a key that opens nothing."""
    snapshot_id = behind.planted()
    hold_id = ask(behind.world, officer, snapshot_id, days=days, order=ORDER)
    behind.condemn(snapshot_id)
    destroying.destroy(behind.ports, snapshot_id)
    check_closed(behind, snapshot_id)
    return behind.world.snapshot(snapshot_id), hold_id


def check_closed(behind: Behind, snapshot_id: str) -> None:
    snapshot = behind.world.snapshot(snapshot_id)
    assert (snapshot.state, snapshot.stuck_reason) == ("condemned", None)
    left = behind.list_left(snapshot_id)
    assert {snapshot.prefix + "label", snapshot.wrapping_key} <= set(left)
    assert not [name for name in left if name.startswith("sab_")]
    assert not opens(behind, snapshot)


def opens(behind: Behind, snapshot: Snapshot) -> bool:
    with contextlib.suppress(KeyHeld):
        wrapped = snapshot.wrapped_key or b""
        behind.world.ports.keys.unwrap(snapshot.wrapping_key, wrapped, snapshot.id.encode())
        return True
    return False


@contextlib.contextmanager
def at_point(point: str, act: Callable[[], None]) -> Iterator[None]:
    """At a line between two effects, somebody else acts."""
    done = threading.Event()

    def meanwhile(name: str) -> None:
        if name == point and not done.is_set():
            done.set()
            act()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(destroying, "crash_point", meanwhile)
        yield
    assert done.is_set(), point


# Against the dead man's hand.


def test_a_held_copy_outlives_the_reaper_until_its_hold_is_over_and_no_longer(
    behind: Behind, officer: Actor
) -> None:
    """The reaper knows no control database: it reads the label, which says the hold's end."""
    snapshot, hold_id = closed(behind, officer, days=30)
    key, now = behind.world.ports.keys.label_key(), datetime.now(UTC)
    store = behind.world.ports.store
    assert snapshot.ends_at < now + timedelta(days=29)
    for days, expected in ((29, []), (31, [f"objects {snapshot.prefix}"])):
        done = reap_store(store, key, now + timedelta(days=days))
        assert [what for what in done.ended if snapshot.id in what] == expected
    lift(behind.world, officer, hold_id)
    behind.finish(snapshot.id)


def test_a_copy_that_the_reaper_ended_before_its_hold_closed_it_is_destroyed_as_ever(
    behind: Behind, officer: Actor
) -> None:
    """The broker was down past the copy's own end: nothing is kept, and nothing else is said."""
    snapshot_id = behind.planted()
    hold_id = ask(behind.world, officer, snapshot_id, order=ORDER)
    store, key = behind.world.ports.store, behind.world.ports.keys.label_key()
    reap_store(store, key, datetime.now(UTC) + timedelta(days=2))
    behind.condemn(snapshot_id)
    destroying.destroy(behind.ports, snapshot_id)
    assert list(store.list_all(f"snapshots/{snapshot_id}/")) == []
    assert behind.world.snapshot(snapshot_id).state == "condemned"
    lift(behind.world, officer, hold_id)
    behind.finish(snapshot_id)


def test_the_janitor_leaves_a_held_copy_alone(behind: Behind, officer: Actor) -> None:
    snapshot, hold_id = closed(behind, officer)
    janitor.look_everywhere(behind.world.ports)
    check_closed(behind, snapshot.id)
    lift(behind.world, officer, hold_id)
    behind.finish(snapshot.id)


# Against destruction.


@pytest.mark.parametrize("point", DESTROYING)
def test_a_hold_that_comes_while_its_copy_is_being_destroyed_is_refused(
    behind: Behind, officer: Actor, point: str
) -> None:
    def come() -> None:
        with pytest.raises(Conflict, match="nothing to keep"):
            ask(behind.world, officer, snapshot_id, order=ORDER)

    snapshot_id = behind.condemned()
    with at_point(point, come):
        destroying.destroy(behind.ports, snapshot_id)
    behind.finish(snapshot_id)


@pytest.mark.parametrize("point", CLOSING)
def test_a_hold_that_is_lifted_while_it_closes_its_copy_keeps_nothing(
    behind: Behind, officer: Actor, point: str
) -> None:
    snapshot_id = behind.planted()
    hold_id = ask(behind.world, officer, snapshot_id, order=ORDER)
    behind.condemn(snapshot_id)
    with at_point(point, lambda: lift(behind.world, officer, hold_id)):
        destroying.destroy(behind.ports, snapshot_id)
    due = behind.world.snapshot(snapshot_id).next_try_at
    assert due is not None
    assert due < datetime.now(UTC) + timedelta(minutes=5)  # the sweep finds it, if its job is lost
    behind.finish(snapshot_id)


@pytest.mark.parametrize("point", CLOSING)
def test_a_worker_that_dies_while_it_closes_a_held_copy_leaves_it_to_the_next(
    behind: Behind, officer: Actor, point: str
) -> None:
    class Died(BaseException):
        pass

    def die() -> None:
        raise Died

    snapshot_id = behind.planted()
    hold_id = ask(behind.world, officer, snapshot_id, order=ORDER)
    behind.condemn(snapshot_id)
    with pytest.raises(Died), at_point(point, die):
        destroying.destroy(behind.ports, snapshot_id)
    destroying.destroy(behind.ports, snapshot_id)
    check_closed(behind, snapshot_id)
    lift(behind.world, officer, hold_id)
    behind.finish(snapshot_id)


# Against each other, and against people.


def test_a_hold_is_lifted_once_and_whoever_comes_second_is_told(
    behind: Behind, officer: Actor
) -> None:
    snapshot, hold_id = closed(behind, officer)
    lift(behind.world, officer, hold_id)
    with pytest.raises(Conflict, match="over already"):
        lift(behind.world, officer, hold_id)
    behind.finish(snapshot.id)
    told = [e["kind"] for e in behind.world.entries() if e["subject"] == hold_id]
    assert told.count("hold.ended") == 1


def test_two_who_lift_at_once_end_it_once(behind: Behind, officer: Actor) -> None:
    snapshot, hold_id = closed(behind, officer)
    refused: list[str] = []

    def act() -> None:
        try:
            lift(behind.world, officer, hold_id)
        except Conflict as error:
            refused.append(error.message)

    both = [threading.Thread(target=act) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(refused) == 1
    assert "over" in refused[0]
    behind.finish(snapshot.id)


def test_a_hold_of_ninety_days_goes_on_on_the_last_of_them_without_a_gap(
    behind: Behind, officer: Actor
) -> None:
    snapshot, first = closed(behind, officer, days=90)
    pass_by(behind, timedelta(days=90, seconds=-60))
    sweeps.sweep_ends(behind.world.broker.database, behind.world.broker.queue, 0)
    second = ask(behind.world, officer, snapshot.id, days=90, order=ORDER)
    destroying.destroy(behind.ports, snapshot.id)
    assert (state(behind.world, first), state(behind.world, second)) == ("over", "in_force")
    check_closed(behind, snapshot.id)
    reaped = reap_store(
        behind.world.ports.store,
        behind.world.ports.keys.label_key(),
        datetime.now(UTC) + timedelta(days=179),
    )
    assert not [what for what in reaped.ended if snapshot.id in what]
    lift(behind.world, officer, second)
    behind.finish(snapshot.id)


def test_a_hold_that_is_renewed_after_its_last_day_comes_too_late(
    behind: Behind, officer: Actor
) -> None:
    snapshot, first = closed(behind, officer, days=90)
    pass_by(behind, timedelta(days=90, seconds=60))
    sweeps.sweep_ends(behind.world.broker.database, behind.world.broker.queue, 0)
    assert state(behind.world, first) == "over"
    destroying.destroy(behind.ports, snapshot.id)
    with pytest.raises(Conflict, match="nothing to keep"):
        ask(behind.world, officer, snapshot.id, order=ORDER)
    behind.finish(snapshot.id)


def test_what_was_held_opens_nothing_also_between_its_lifting_and_its_end(
    behind: Behind, officer: Actor
) -> None:
    """Nor by a reset of the copy, nor by making it anew."""
    snapshot, hold_id = closed(behind, officer)
    lift(behind.world, officer, hold_id)
    assert not opens(behind, snapshot)
    making.copy(behind.ports, snapshot.id)
    with (
        pytest.raises(Conflict),
        behind.world.as_(behind.world.admin) as tx,
    ):
        lifecycle.condemn_by_click(tx, snapshot.id, behind.world.broker.queue)
    assert not opens(behind, snapshot)
    behind.finish(snapshot.id)


class HoldsNothing(Keyring):
    """Says "done", and goes on to open what it is asked for."""

    def hold(self, name: str) -> None:
        """Do nothing."""


class RefusesToHold(Keyring):
    def hold(self, name: str) -> None:
        raise KeyUnavailable(f"no answer about {name}")


@pytest.mark.parametrize("keys", [HoldsNothing, RefusesToHold])
def test_a_copy_whose_key_still_opens_is_not_called_held(
    behind: Behind, officer: Actor, keys: type[Keyring]
) -> None:
    """It is late and told of, its logins and its sandbox are gone, and it is tried again."""
    folder = behind.broker.settings.keys.keyring
    assert folder is not None
    snapshot_id = behind.planted()
    hold_id = ask(behind.world, officer, snapshot_id, order=ORDER)
    behind.condemn(snapshot_id)
    with behind.through(keys=keys(folder)):
        destroying.destroy(behind.ports, snapshot_id)
    assert behind.is_stuck(snapshot_id)
    assert not [name for name in behind.list_left(snapshot_id) if name.startswith("sab_")]
    with behind.world.as_(system("tests")) as tx:
        assert tx.session.get_one(LegalHold, hold_id).closed_at is None
        late = {item.id for item in lateness.list_late(tx, after_s=0)}
        held = tx.session.scalar(
            sa.select(LegalHold.id).where(
                LegalHold.snapshot_id == snapshot_id, LegalHold.closed_at.is_not(None)
            )
        )
    assert snapshot_id in late
    assert held is None
    destroying.destroy(behind.ports, snapshot_id)
    check_closed(behind, snapshot_id)
    lift(behind.world, officer, hold_id)
    behind.finish(snapshot_id)
