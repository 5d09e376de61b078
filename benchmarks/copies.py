"""Copies against the tools that people use: `make bench NAME=copies [SIZE=small]`.

The peer is `pg_dump -Fd -j2 -Z0`, every file of that through `zstd -1 | age -r` (two at a time)
into a folder, then `pg_restore -j2`; for a reset `age -d | zstd -d`, then `pg_restore -j2`. Ours
is `snapshots.loading.fill` and `snapshots.resetting.rebuild` in a process of its own, as a worker
runs them. Both write into the same tuned server, alternating; both ends are checked by row counts
and valid constraints. Figures are medians: ours divided by the peer's, less is better.

Commands, settings and single times go to standard error; the last line on standard output is one
JSON object. Data is made by the benchmark: contacts and orders (1.4 GB, or a twentieth), and many
small tables (2,000, or a tenth).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from copies_world import SMALL, TUNED, World, built, check_ends, say, superuser, watched

from broker.engines import Target
from broker.engines.ownership import find_owned
from broker.engines.postgres.catalogue import read_catalogue
from broker.engines.postgres.connect import connect, find_tool, tool_connection
from broker.engines.postgres.masks import MASKS, find_obstacle
from broker.grants.plan import make_plan
from broker.grants.policy import Policy, Rule, load_policy
from broker.ids import new_id
from broker.sealing import new_data_key
from broker.secret import Secret
from broker.snapshots import loading, resetting
from broker.snapshots.artifacts import Artifact
from broker.snapshots.contents import Contents
from broker.snapshots.model import Snapshot
from broker.snapshots.places import Places
from broker.snapshots.progress import Watch
from broker.stores.folder import FolderStore
from broker.tenancy import Tenancy

ROUNDS = int(os.environ.get("ROUNDS", "1" if SMALL else "3"))
KEEP_ALL = Policy(1, (Rule("all", "a benchmark", ("keep",)),), {"*": ("null",)})
BEGUN = time.monotonic()
INSTALL = {"age": "apt-get install age", "zstd": "apt-get install zstd"}


class Unwatched(Watch):
    """Progress of a copy that no control database knows."""

    def __init__(self) -> None:
        super().__init__(None, None, "", 0)  # type: ignore[arg-type]  # tick() asks neither

    def step(self, name: str) -> None:
        say(f"  {time.monotonic() - BEGUN:6.2f} s {name}")

    def tick(self) -> None:
        pass


# What runs in the worker's process.


def work(task: dict[str, Any]) -> dict[str, Any]:
    """Make a copy, or rebuild its sandbox; `task` and what comes back are JSON values."""
    server = Target(
        task["host"], 5432, "postgres", task["user"], Secret(task["password"]), None, "bench"
    )
    end = datetime.now(UTC) + timedelta(hours=2)
    snapshot = Snapshot(id=task["snapshot"], ends_at=end)
    places = Places(snapshot, server, Secret(bytes(32)))
    store = FolderStore(Path(task["store"]))
    data_key = Secret(bytes.fromhex(task["data_key"]))
    if "manifest" in task:
        snapshot.manifest_size, snapshot.manifest_sha256 = task["manifest"]
        artifact = Artifact(store, snapshot, data_key)
        manifest = artifact.read_manifest()
        objects = {sealed.name: sealed for sealed in manifest.objects}
        for sealed in manifest.objects:
            artifact.check(sealed)
        contents = Contents.from_facts(manifest.facts)
        resetting.rebuild(places, artifact, objects, contents, Unwatched())
        return {}
    source = Target(
        task["source"], 5432, task["dbname"], "postgres", Secret(task["source_password"]),
        None, f"bench {snapshot.id}",
    )  # fmt: skip
    policy = load_policy(Path("config/masking.toml"), frozenset(MASKS))
    policy = policy if task["masked"] else KEEP_ALL
    schemas, whole = ("public",), Tenancy()
    with connect(source) as connection:
        owned = find_owned(read_catalogue(connection, schemas), whole, schemas)
    plan = make_plan(
        policy, owned.catalogue, find_obstacle, whose=owned.whose, tenancy=whole.digest()
    )
    filled = loading.fill(
        loading.Job(places, plan, policy, source, schemas, whole, store, data_key, Unwatched())
    )
    say(f"  {time.monotonic() - BEGUN:6.2f} s ready")
    return {"manifest": [filled.manifest.size_bytes, filled.manifest.sha256]}


def run_worker(world: World, task: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """The answer of a worker, and the seconds from its first line of work to its end."""
    process = subprocess.Popen(
        [sys.executable, __file__, "worker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with watched(world, process):
        out, _ = process.communicate(json.dumps(task), timeout=1800)
    assert process.returncode == 0, "the worker failed; see above"
    answer = json.loads(out)
    return answer, float(answer.pop("seconds"))


def worker() -> None:
    task = json.load(sys.stdin)
    started = time.monotonic()
    answer = work(task)
    print(json.dumps({**answer, "seconds": time.monotonic() - started}))


# One round of ours, and one of the peer's.


@dataclass
class Ours:
    world: World
    dbname: str
    masked: bool = False

    def task(self) -> dict[str, Any]:
        user, password = self.world.account
        store = self.world.folder / "store"
        if not store.exists():
            FolderStore.create_folder(store)
        return {
            "snapshot": new_id("snp"), "host": self.world.test.host, "user": user,
            "password": password, "store": str(store), "data_key": new_data_key().reveal().hex(),
            "source": self.world.source.host, "dbname": self.dbname, "masked": self.masked,
            "source_password": self.world.source.password.reveal(),
        }  # fmt: skip

    def copy(self, what: str, *, reset: bool = False) -> None:
        task = self.task()
        with self.world.processor(what):
            answer, seconds = run_worker(self.world, task)
        self.world.note(what, seconds)
        places = self._places(task)
        check_ends(self.world, self.dbname, places.snapshot.sandbox)
        places.drop_sandbox()
        if reset:
            with self.world.processor("our reset"):
                _, seconds = run_worker(self.world, {**task, **answer})
            self.world.note("our reset", seconds)
            check_ends(self.world, self.dbname, places.snapshot.sandbox)
            places.drop_sandbox()
        shutil.rmtree(self.world.folder / "store")

    def _places(self, task: dict[str, Any]) -> Places:
        user, password = self.world.account
        host = self.world.test.host
        server = Target(host, 5432, "postgres", user, Secret(password))
        return Places(Snapshot(id=task["snapshot"]), server, Secret(bytes(32)))


@dataclass
class Peer:
    world: World
    dbname: str

    def copy(self, what: str, *, reset: bool = False) -> None:
        dump, sealed = self.world.folder / "dump", self.world.folder / "sealed"
        sealed.mkdir()
        source = self.world.source_target(self.dbname)
        with self._fresh() as target:
            started = time.monotonic()
            with self.world.processor(what):
                run_tool("pg_dump", ["-Fd", "-j2", "-Z0", "-f", str(dump)], source)
                self._pipe(dump, sealed, f"zstd -q -1 -c | age -r {self.world.age_key}", ".age")
                run_tool(
                    "pg_restore", ["-j2", "--no-owner", "-d", "service=broker", str(dump)], target
                )
            self.world.note(what, time.monotonic() - started)
            check_ends(self.world, self.dbname, target.dbname)
        shutil.rmtree(dump)
        if reset:
            with self._fresh() as target:
                started = time.monotonic()
                dump.mkdir()
                identity = self.world.folder / "age.key"
                with self.world.processor("the peer's reset"):
                    self._pipe(sealed, dump, f"age -d -i {identity} | zstd -q -d -c", "")
                    run_tool(
                        "pg_restore",
                        ["-j2", "--no-owner", "-d", "service=broker", str(dump)],
                        target,
                    )
                self.world.note("the peer's reset", time.monotonic() - started)
                check_ends(self.world, self.dbname, target.dbname)
            shutil.rmtree(dump)
        shutil.rmtree(sealed)

    @contextlib.contextmanager
    def _fresh(self) -> Iterator[Target]:
        name = f"peer_{secrets.token_hex(4)}"
        with connect(superuser(self.world.test, "postgres")) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            yield superuser(self.world.test, name)
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @staticmethod
    def _pipe(here: Path, there: Path, command: str, suffix: str) -> None:
        def one(path: Path) -> None:
            name = path.name.removesuffix(".age") + suffix
            whole = f"set -o pipefail; {command}"
            with path.open("rb") as source, (there / name).open("wb") as sink:
                subprocess.run(["bash", "-c", whole], stdin=source, stdout=sink, check=True)  # noqa: S607  # found on the PATH

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, sorted(here.iterdir(), key=lambda path: -path.stat().st_size)))


def run_tool(name: str, arguments: list[str], target: Target) -> None:
    with tool_connection(target) as connection:
        given = arguments if "-d" in arguments else [*arguments, connection.dsn]
        subprocess.run(
            [find_tool(name), *given], env=dict(connection.env), pass_fds=connection.pass_fds,
            check=True,
        )  # fmt: skip


RATIOS = {
    "sealed_ratio": ("ours, sealed", "the peer"),
    "masked_ratio": ("ours, masked and sealed", "the peer"),
    "reset_ratio": ("our reset", "the peer's reset"),
    "small_ratio": ("ours, many tables", "the peer, many tables"),
}


def ratio(world: World, ours: str, peer: str) -> float:
    return round(world.median(ours) / world.median(peer), 3)


def main() -> None:
    for tool, command in INSTALL.items():
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not installed; install it with: {command}")
    say(f"test server: {TUNED}")
    say("peer: pg_dump -Fd -j2 -Z0 | zstd -1 | age -r (two at a time); pg_restore -j2")
    with built() as world:
        rounds: list[Callable[[], None]] = [
            lambda: Peer(world, "big").copy("the peer", reset=True),
            lambda: Ours(world, "big").copy("ours, sealed", reset=True),
            lambda: Ours(world, "big", masked=True).copy("ours, masked and sealed"),
            lambda: Peer(world, "many").copy("the peer, many tables"),
            lambda: Ours(world, "many").copy("ours, many tables"),
        ]
        for _ in range(ROUNDS):
            for one in rounds:
                one()
        figures = {
            **{key: ratio(world, *pair) for key, pair in RATIOS.items()},
            "pgcopydb_ratio": None,  # that peer is not run here yet
            "peak_rss_mb": round(world.peak_rss_mb, 1),
            "seconds": {what: round(world.median(what), 2) for what in world.times},
            # What the machine's other work does not change: read the seconds beside these.
            "processor_ratios": {
                key: round(world.processor_s(ours) / world.processor_s(peer), 3)
                for key, (ours, peer) in RATIOS.items()
            },
            "processor_s": world.processors(),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    worker() if sys.argv[1:] == ["worker"] else main()
