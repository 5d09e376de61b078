"""`kill -9` of the web process between two lines of its own code: an act is whole, or never was.

The line at which it dies is moved through the whole request, from the first to the one after which
nothing is left to do. So a change that is made in two transactions, or a job that is put after the
commit, is found wherever it stands (G9, habit 1).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import sqlalchemy as sa

import broker
from broker import bootstrap, signin
from broker.engines.postgres.scram import make_verifier, new_password
from broker.http import create_app
from broker.tx import Actor, system
from tests.world import World

OURS = str(Path(broker.__file__).parent)
STEPS = 24  # lines at which one act is killed; SOAK=1 takes every one
Facts = tuple[object, ...]


def kill_at(act: Callable[[], object], line: int) -> bool:
    """Whether it died there; False when the request was over before."""
    return os.WIFSIGNALED(_in_child(lambda: _run(act, line)))


def _in_child(act: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def _run(act: Callable[[], object], die_at: int | None) -> int:
    passed = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal passed
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event == "line":
            passed += 1
            if passed == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(None)
    return passed


def posting(world: World, actor: Actor, path: str, body: object) -> Callable[[], object]:
    """The request as gunicorn's worker runs it; the child's connections are its own."""
    with world.as_(actor) as tx:
        token = signin.create_token(tx, "test", 1)[1].reveal()

    app = create_app(bootstrap.build(world.broker.settings))  # opens nothing before its first use

    def act() -> object:
        return app.test_client(use_cookies=False).post(
            f"/api/v1{path}", json=body, headers={"Authorization": f"Bearer {token}"}
        )

    return act


def seen(world: World, *queries: str) -> Facts:
    with world.as_(system("tests")) as tx:
        return tuple(tx.session.scalar(sa.text(query)) for query in queries)


def entries(kind: str) -> str:
    return f"SELECT count(*) FROM audit_entry WHERE convert_from(entry, 'UTF8') LIKE '%\"{kind}\"%'"


@pytest.fixture
def steps() -> int:
    return 10**6 if os.environ.get("SOAK") else STEPS


def lines(most: int, steps: int) -> Iterator[int]:
    yield from range(1, most, max(1, most // steps))


@pytest.mark.long
def test_an_act_is_whole_or_never_was_wherever_its_process_dies(world: World, steps: int) -> None:
    grant_id = world.request()
    world.work()
    digest = world.grant(grant_id).asked_digest
    acts: list[tuple[Callable[[], object], tuple[str, ...], Facts]] = []
    approve = posting(world, world.admin, f"/grants/{grant_id}/approve", {"shown_digest": digest})
    state = f"SELECT state FROM access_grant WHERE id = '{grant_id}'"
    kind = entries("grant.approved")
    acts.append((approve, (state, kind), ("approved", 1)))
    ask = posting(
        world,
        world.engineer,
        "/leases",
        {"grant": grant_id, "verifier": make_verifier(new_password())},
    )
    rows = "SELECT count(*) FROM lease"
    acts.append((ask, (rows, entries("lease.asked")), (1, 1)))  # the desk needs no job (ADR 0017)
    end = posting(world, world.admin, f"/grants/{grant_id}/end", {})
    leases = "SELECT min(state) FROM lease"
    watched = (state, leases, entries("grant.ended"))
    acts.append((end, watched, ("ended", "revoking", 1)))
    for act, queries, after in acts:
        before = seen(world, *queries)
        died = 0
        for line in lines(1500, steps):
            if not kill_at(act, line):
                break
            died += 1
            found = seen(world, *queries)
            assert found in {before, after}, (line, found)
            if found == after:
                break
        assert died
        if seen(world, *queries) == before:
            _in_child(act)
        assert seen(world, *queries) == after
