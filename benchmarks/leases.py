"""Leases beside OpenBao's database engine: `make bench NAME=leases [SIZE=small]`.

See README.md in this folder for what exactly is compared. Last line on standard output: one JSON
object. Everything else goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import _broker
import _openbao
import psycopg
from _broker import DURABLE, Tenant, World, try_login
from _cpu import cpu_s

from broker.demo.processes import wait_until
from broker.embedded import ROOT_FOLDER, EmbeddedServer, make_root_folder
from broker.embedded import running as servers
from broker.engines.postgres.connect import connect

SMALL = os.environ.get("SIZE") == "small"
PER_BLOCK = {1: 20, 8: 40} if SMALL else {1: 60, 8: 240}
LIVE = 500 if SMALL else 10_000
TO_END = 100 if SMALL else 1_000
ROUNDS = 3
EVERY = 20  # one in so many is tried by a login, and keeps its session until after its end
DBNAME = "crm"
# As much memory as a small server has; durability is on. One server for both sides.
SERVER = {**DURABLE, "shared_buffers": "128MB", "max_connections": "200"}


class Client(Protocol):
    def issue(self) -> tuple[str, str, str]:
        """(lease, role, password)"""

    def revoke(self, lease: str, /) -> None: ...


@dataclass
class Times:
    """Of one side at one concurrency, a figure for each block: medians and rates a second."""

    issue_ms: list[float] = field(default_factory=list)
    revoke_ms: list[float] = field(default_factory=list)
    issue_rate: list[float] = field(default_factory=list)
    revoke_rate: list[float] = field(default_factory=list)
    issue_cpu_ms: list[Mapping[str, float]] = field(default_factory=list)  # by part, of one lease
    revoke_cpu_ms: list[Mapping[str, float]] = field(default_factory=list)
    sessions_left: int = 0

    def median(self, what: str) -> float:
        return statistics.median(getattr(self, what))

    def cpu_ms(self, what: str) -> dict[str, float]:
        """Medians by part, and of all parts together."""
        blocks: list[Mapping[str, float]] = getattr(self, what)
        parts = {part: statistics.median(one[part] for one in blocks) for part in blocks[0]}
        return {**parts, "all": statistics.median(sum(one.values()) for one in blocks)}


Parts = Mapping[str, int]  # the process at the root of each


@contextlib.contextmanager
def counted(parts: Parts, count: int, spent: list[Mapping[str, float]]) -> Iterator[None]:
    """Note the processor time in ms that each part takes for one of `count`."""
    before = {part: cpu_s([pid]) for part, pid in parts.items()}
    yield
    spent.append(
        {part: (cpu_s([pid]) - before[part]) * 1000 / count for part, pid in parts.items()}
    )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def run_block(
    clients: Sequence[Client], live: EmbeddedServer, count: int, times: Times, parts: Parts
) -> None:
    """Issue `count`, log in with every 20th, revoke all, and see what became of the sessions."""
    share = count // len(clients)
    issued: list[list[tuple[str, str, str]]] = [[] for _ in clients]

    def issue(number: int) -> list[float]:
        client, mine = clients[number], issued[number]
        return [timed(lambda: mine.append(client.issue())) for _ in range(share)]

    def revoke(number: int) -> list[float]:
        client = clients[number]
        return [
            timed(lambda lease=lease: client.revoke(lease))  # type: ignore[misc]  # bound at once
            for lease, _, _ in issued[number]
        ]

    with counted(parts, count, times.issue_cpu_ms):
        times.issue_ms.append(_all_at_once(issue, len(clients), count, times.issue_rate))
    tried = [one for mine in issued for one in mine][::EVERY]
    sessions = [try_login(live, DBNAME, role, password) for _, role, password in tried]
    with counted(parts, count, times.revoke_cpu_ms):
        times.revoke_ms.append(_all_at_once(revoke, len(clients), count, times.revoke_rate))
    for session in sessions:
        with contextlib.closing(session), contextlib.suppress(psycopg.OperationalError):
            session.execute("SELECT 1")
            times.sessions_left += 1


def _all_at_once(
    work: Callable[[int], list[float]], callers: int, count: int, rates: list[float]
) -> float:
    """Run `work` of each caller in a thread of its own; note the rate, return the median."""
    with ThreadPoolExecutor(callers) as pool:
        began = time.perf_counter()
        taken = [ms for mine in pool.map(work, range(callers)) for ms in mine]
        rates.append(count / (time.perf_counter() - began))
    assert len(taken) == count
    return statistics.median(taken)


def compare(world: World, bao: _openbao.Bao, tenant: Tenant) -> dict[str, Times]:
    """Alternating blocks of both sides, at concurrency 1 and 8."""
    measured: dict[str, Times] = {}
    sides: dict[str, dict[int, list[Client]]] = {"broker": {}, "openbao": {}}
    for callers, count in PER_BLOCK.items():
        share = count // callers
        sides["broker"][callers] = [world.client(tenant, n, share) for n in range(callers)]
        sides["openbao"][callers] = [bao.client() for _ in range(callers)]
    parts = {"broker": world.parts(), "openbao": {"bao": bao.pid, "server": world.live.pid}}
    world.forget_mails()
    for side, by_callers in sides.items():  # warm: pools, first imports, plans of statements
        run_block(by_callers[8], world.live, 8, Times(), parts[side])
        say(f"{side} is warm")
    for _ in range(ROUNDS):
        for callers, count in PER_BLOCK.items():
            for side, by_callers in sides.items():
                times = measured.setdefault(f"{side}_c{callers}", Times())
                run_block(by_callers[callers], world.live, count, times, parts[side])
                say(
                    f"{side}, {callers} at once: issue {times.issue_ms[-1]:.1f} ms "
                    f"{times.issue_rate[-1]:.1f}/s, revoke {times.revoke_ms[-1]:.1f} ms "
                    f"{times.revoke_rate[-1]:.1f}/s, sessions left {times.sessions_left}"
                )
    return measured


def growth(world: World, tenant: Tenant, other: Tenant, small: Times) -> dict[str, float]:
    """The same with many live leases on the server; then all of one tenant are ended."""
    began = time.perf_counter()
    world.fill(tenant, LIVE - TO_END)
    world.fill(other, TO_END)
    say(f"{LIVE} live leases made in {time.perf_counter() - began:.0f} s")
    many = Times()
    client = world.client(tenant, 0, PER_BLOCK[1])
    for _ in range(ROUNDS):
        run_block([client], world.live, PER_BLOCK[1], many, world.parts())
    began = time.perf_counter()
    world.api(other.admin).ok("POST", f"/api/v1/tenants/{other.id}/end-everything")
    states = ("pending", "issued", "revoking")
    wait_until(lambda: world.count_leases(other, *states) == 0, "the end of everything", 600)
    ended_s = time.perf_counter() - began
    assert world.count_leases(other, "revoked") == TO_END
    return {
        "issue_growth": many.median("issue_ms") / small.median("issue_ms"),
        "revoke_growth": many.median("revoke_ms") / small.median("revoke_ms"),
        "end_tenant_s": ended_s,
    }


def figures(measured: dict[str, Times], more: dict[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for callers in PER_BLOCK:
        ours, peer = measured[f"broker_c{callers}"], measured[f"openbao_c{callers}"]
        for act in ("issue", "revoke"):
            for kind, name in (("ms", "p50"), ("rate", "rate")):
                what = f"{act}_{kind}"
                ratio = ours.median(what) / peer.median(what)
                found[f"{act}_{name}_ratio_c{callers}"] = ratio
                found[f"{what}_c{callers}"] = ours.median(what)
                found[f"peer_{what}_c{callers}"] = peer.median(what)
            what = f"{act}_cpu_ms"
            for whose, side in (("", ours), ("peer_", peer)):
                for part, ms in side.cpu_ms(what).items():
                    found[f"{whose}{what}_{part}_c{callers}"] = ms
    ours = [times for name, times in measured.items() if name.startswith("broker")]
    assert sum(times.sessions_left for times in ours) == 0, "a session outlived its lease"
    peers = [times for name, times in measured.items() if name.startswith("openbao")]
    for act in ("issue", "revoke"):
        for name in ("p50", "rate"):
            both = [found[f"{act}_{name}_ratio_c{callers}"] for callers in PER_BLOCK]
            found[f"{act}_{name}_ratio"] = max(both) if name == "p50" else min(both)
    found["peer_sessions_left"] = sum(times.sessions_left for times in peers)
    found["live_leases"] = LIVE
    return {name: round(value, 3) for name, value in (found | more).items()}


def main() -> None:
    _openbao.find_bao()
    root = None
    if os.geteuid() == 0:
        make_root_folder()
        root = ROOT_FOLDER
    folder = Path(tempfile.mkdtemp(dir=root, prefix="bench-leases-"))
    live = EmbeddedServer(folder / "live", settings=SERVER)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(servers(live))
            world = stack.enter_context(_broker.running(folder, live))
            tenant, other = world.enrol(DBNAME), world.enrol("other")
            with connect(world.superuser(live, DBNAME)) as connection:
                password = _openbao.prepare_server(connection, DBNAME)
            bao = stack.enter_context(_openbao.running(folder / "bao", live, DBNAME, password))
            world.fill(tenant, 1)  # keeps the scope, on our side as on theirs
            measured = compare(world, bao, tenant)
            more = growth(world, tenant, other, measured["broker_c1"])
        print(json.dumps(figures(measured, more)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
