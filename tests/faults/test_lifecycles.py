"""Any order of asking, ending and failing, drawn by hypothesis, on real servers.

After each step: what is certified is gone, and what is ended is neither ready nor comes back. At
the end all faults stop, and then everything that should be gone is gone, and certified (I5).
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from broker import janitor, lateness, lifecycle
from broker.errors import Conflict
from broker.snapshots.model import Remnant
from broker.snapshots.remnants import find_certificate
from broker.tx import system
from tests.janitor_world import put_object
from tests.stories import control_superuser, shut_out, skip, sweep, unmounted
from tests.world import World

SOAK = os.environ.get("SOAK") == "1"
EXAMPLES, STEPS = (500, 40) if SOAK else (3, 14)
DATABASES = "SELECT datname FROM pg_database WHERE datname ~ '^sab_[a-z2-7]{26}$'"
_COPIES = 2  # per life: each is a real one
ORDER = ("ordered", "copying", "ready", "condemned", "destroyed")

pytestmark = pytest.mark.long


def test_no_order_of_acts_and_faults_leaves_a_copy_or_a_false_certificate(world: World) -> None:
    class Lives(Life):
        pass

    Lives.world = world
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=not SOAK,
            database=None,
            phases=(Phase.generate,),  # a real copy a step: shrinking would take hours
            suppress_health_check=list(HealthCheck),
        ),
    )


class Life(RuleBasedStateMachine):
    """One tenant's grants and copies; faults of places are entered and left as rules say."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.copies: dict[str, str] = {}  # snapshot -> grant
        self.seen: dict[str, str] = {}
        self.put_back: set[str] = set()
        self.down: dict[str, ExitStack] = {}
        self.hours = 0

    @initialize()
    def begin(self) -> None:
        skip(self.world, timedelta(0))
        self.order()
        self.world.work()

    @precondition(lambda self: len(self.copies) < _COPIES and not self.down)
    @rule()
    def order(self) -> None:
        grant_id = self.world.approved()
        self.copies[self.world.order(grant_id)] = grant_id

    @rule()
    def work(self) -> None:
        self.world.work()

    @rule()
    def sweep(self) -> None:
        """Every wait between two tries is over."""
        self._pass(timedelta(seconds=301))
        sweep(self.world)

    @rule()
    def settle(self) -> None:
        """No fault for a while, so that lives go on beyond a destruction."""
        for stack in self.down.values():
            stack.close()
        self.down.clear()
        self.sweep()
        self.sweep()

    @precondition(lambda self: self.copies)
    @rule(data=st.data(), how=st.sampled_from(["ticket", "grant", "click", "engineer's click"]))
    def end(self, data: st.DataObject, how: str) -> None:
        snapshot_id = data.draw(st.sampled_from(sorted(self.copies)))
        grant_id, queue = self.copies[snapshot_id], self.world.broker.queue
        try:
            if how == "ticket":
                self.world.close_ticket(self.world.grant(grant_id).ticket_id)
            elif how == "grant":
                with self.world.as_(self.world.admin) as tx:
                    lifecycle.end_grant_by_click(tx, grant_id, queue)
            else:
                by = self.world.admin if how == "click" else self.world.engineer
                with self.world.as_(by) as tx:
                    lifecycle.condemn_by_click(tx, snapshot_id, queue)
        except Conflict:
            pass  # it was over already: said, and nothing changed

    @rule(place=st.sampled_from(["store", "test server"]))
    def fail(self, place: str) -> None:
        if place in self.down:
            self.down.pop(place).close()
            return
        folder = self.world.broker.settings.store.folder or Path()
        away: AbstractContextManager[None] = (
            unmounted(folder) if place == "store" else shut_out(self.world, "test")
        )
        self.down[place] = ExitStack()
        self.down[place].enter_context(away)

    @rule()
    def lose_jobs(self) -> None:
        with control_superuser(self.world) as connection:
            connection.execute("DELETE FROM procrastinate_jobs")

    @precondition(lambda self: "store" not in self.down)
    @rule()
    def bring_back_an_object(self) -> None:
        """A restored backup of the store."""
        for snapshot_id in self.copies:
            if self.world.snapshot(snapshot_id).state == "destroyed":
                put_object(self.world, f"snapshots/{snapshot_id}/table-00000")
                self.put_back.add(snapshot_id)

    @rule()
    def look_for_orphans(self) -> None:
        janitor.look_everywhere(self.world.ports)

    @rule()
    def let_a_day_pass(self) -> None:
        """Looks become due, and windows end."""
        self._pass(timedelta(days=1))

    def _pass(self, span: timedelta) -> None:
        self.hours += span.total_seconds() / 3600
        skip(self.world, timedelta(hours=self.hours))

    @invariant()
    def no_state_goes_back(self) -> None:
        for snapshot_id in self.copies:
            state = self.world.snapshot(snapshot_id).state
            before = self.seen.get(snapshot_id, "ordered")
            assert ORDER.index(state) >= ORDER.index(before)
            self.seen[snapshot_id] = state

    @invariant()
    def what_is_certified_is_gone(self) -> None:
        standing = {name for (name,) in self.world.find_on_server(self.world.test, DATABASES)}
        with self.world.as_(system("tests")) as tx:
            certified = {s for s in self.copies if find_certificate(tx, s) is not None}
        assert not standing & {f"sab_{snapshot_id[4:]}" for snapshot_id in certified}
        if "store" in self.down:
            return
        for stored in self.world.ports.store.list_all("snapshots/"):
            left = stored.name.split("/")[1]
            assert left not in certified or left in self.put_back
        assert not certified & {
            name.removeprefix("snapshot/") for name in self.world.ports.keys.list_names("snapshot/")
        }

    def teardown(self) -> None:
        """The fair phase: no fault any more, and some rounds of sweeps."""
        for stack in self.down.values():
            stack.close()
        self._pass(timedelta(days=40))
        for _ in range(4):
            self._pass(timedelta(seconds=301))
            janitor.look_everywhere(self.world.ports)
            sweep(self.world)
        with self.world.as_(system("tests")) as tx:
            certified = {s for s in self.copies if find_certificate(tx, s) is not None}
            left = tx.session.scalar(sa.select(sa.func.count()).where(Remnant.state == "condemned"))
            late = [one for one in lateness.list_late(tx, after_s=0) if one.what != "log"]
        assert certified == set(self.copies)
        assert (left, late) == (0, [])
        assert list(self.world.ports.store.list_all("snapshots/")) == []
        assert self.world.find_on_server(self.world.test, DATABASES) == []
        told = Counter((e["kind"], e["subject"]) for e in self.world.entries())
        for snapshot_id in self.copies:
            assert told["snapshot.destroyed", snapshot_id] == 1
            assert told["key.erased", snapshot_id] == 1
