"""Many lives of copies, each with faults drawn at random: none is left, none is certified falsely,
no entry is lost.

In short form a dozen lives. `make soak` goes on until SOAK_LIVES are through (10,000) or
SOAK_MINUTES are over (20), and tells how far it came; SOAK_SEED draws the same faults again.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

import psycopg
import pytest
import sqlalchemy as sa

from broker import janitor, lifecycle
from broker.audit.verify import verify_bundle
from broker.snapshots import certificates, destroying
from tests.faults.behind import ONCE, Behind
from tests.faults.door import Cut, Fault, NthCommit, Refused, SaidDone, SaidFailed, refusal, said
from tests.faults.test_faults_of_stores_and_keys import (
    DeletesAndSaysNo,
    DeletesNothing,
    ErasesAndSaysNo,
    ErasesNothing,
    keyring_folder,
    store_folder,
)
from tests.stories import exported, pinned
from tests.world import World

SOAK = os.environ.get("SOAK") == "1"
LIVES = int(os.environ.get("SOAK_LIVES", "10000")) if SOAK else 12
MINUTES = int(os.environ.get("SOAK_MINUTES", "20"))
TOGETHER = 8  # lives at a time, which end one after the other
POINTS = (
    *("after-leases", "key-erased", "after-data-key", "after-sandbox", "after-artifact"),
    *("decoys-placed", "looks-made"),
)
DROP = b"DROP DATABASE"

pytestmark = pytest.mark.long


class Died(BaseException):
    """A worker's death at a named point, as far as one process can show it."""


@dataclass
class Soak:
    behind: Behind
    draw: random.Random
    met: Counter[str] = field(default_factory=Counter)

    @property
    def world(self) -> World:
        return self.behind.world

    def live(self) -> str:
        """A copy in all its places, condemned by one side or the other."""
        snapshot_id = self.behind.planted()
        by = self.draw.choice([self.world.admin, self.world.engineer, self.world.operator])
        with self.world.as_(by) as tx:
            lifecycle.condemn_by_click(tx, snapshot_id, self.world.broker.queue)
        return snapshot_id

    def end_with_faults(self, snapshot_id: str) -> None:
        """One try, in which up to two things are wrong."""
        with ExitStack() as stack:
            for what in self.draw.sample(sorted(self._faults()), self.draw.choice([1, 1, 2])):
                self.met[what] += 1
                stack.enter_context(self._faults()[what]())
            with contextlib.suppress(sa.exc.DBAPIError, psycopg.Error, Died):
                destroying.destroy(self.behind.ports, snapshot_id)
                certificates.certify(self.behind.ports, snapshot_id)
        self.behind.check_truth(snapshot_id)

    def _faults(self) -> dict[str, Callable[[], AbstractContextManager[object]]]:
        behind, draw = self.behind, self.draw
        stores, keys = store_folder(behind), keyring_folder(behind)

        def of_test(fault: Fault) -> Callable[[], AbstractContextManager[None]]:
            return lambda: behind.test.misbehaving(fault)

        def of_control(fault: Fault) -> Callable[[], AbstractContextManager[None]]:
            return lambda: behind.control.misbehaving(fault)

        return {
            "test server: refused": of_test(Refused()),
            "test server: cut": of_test(Cut(draw.randrange(2000))),
            "test server: said done": of_test(SaidDone(DROP, said(DROP))),
            "test server: said failed": of_test(SaidFailed(DROP)),
            "test server: full": of_test(SaidDone(DROP, refusal(b"53100"))),
            "control: cut": of_control(Cut(draw.randrange(20_000))),
            "control: commit and cut": of_control(NthCommit(draw.randrange(1, 12))),
            "store: said done": lambda: behind.through(store=DeletesNothing(stores)),
            "store: said failed": lambda: behind.through(store=DeletesAndSaysNo(stores)),
            "keys: said done": lambda: behind.through(keys=ErasesNothing(keys)),
            "keys: said failed": lambda: behind.through(keys=ErasesAndSaysNo(keys)),
            "worker: died": lambda: dying_at(draw.choice(POINTS)),
        }

    def check_none_left(self, lives: Sequence[str]) -> None:
        left = [o.name for o in self.world.ports.store.list_all("snapshots/")]
        left += self.world.ports.keys.list_names("snapshot/")
        query = "SELECT datname::text FROM pg_database WHERE datname ~ '^sab_[a-z2-7]{26}$'"
        left += [name for (name,) in self.world.find_on_server(self.world.test, query)]
        assert [name for name in left if any(life[4:] in name for life in lives)] == []

    def check_entries(self, lives: Sequence[str]) -> None:
        """None is lost, and none is there twice."""
        told = Counter(
            (entry["kind"], entry["facts"].get("snapshot", entry["subject"]))
            for entry in self.world.entries()
        )
        for kind in ONCE:
            assert [told[kind, life] for life in lives] == [1] * len(lives), kind
        assert verify_bundle(exported(self.world), pinned(self.world)).ok


@contextlib.contextmanager
def dying_at(point: str) -> Iterator[None]:
    def die(name: str) -> None:
        if name == point:
            raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(destroying, "crash_point", die)
        yield


def test_lives_with_random_faults_leave_no_copy_no_false_certificate_and_lose_no_entry(
    behind: Behind,
) -> None:
    seed = os.environ.get("SOAK_SEED") or (secrets.token_hex(4) if SOAK else "short")
    soak = Soak(behind, random.Random(seed))  # noqa: S311  # draws faults, no secret
    until, lives, tries = time.monotonic() + 60 * MINUTES, list[str](), Counter[int]()
    while len(lives) < LIVES and time.monotonic() < until:
        batch = [soak.live() for _ in range(min(TOGETHER, LIVES - len(lives)))]
        for _ in range(soak.draw.randrange(1, 4)):
            for snapshot_id in soak.draw.sample(batch, len(batch)):
                soak.end_with_faults(snapshot_id)
        for snapshot_id in batch:
            behind.let_end(snapshot_id)
            tries[behind.world.snapshot(snapshot_id).attempts] += 1
        soak.check_none_left(batch)
        lives += batch
    soak.check_entries(lives)
    assert janitor.look_everywhere(behind.world.ports) == 0
    told = {"lives": len(lives), "seed": seed, "faults": sum(soak.met.values()), **soak.met}
    print(told, "failed tries:", dict(sorted(tries.items())))  # noqa: T201  # with -s: how far
