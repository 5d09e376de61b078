"""The audit log's figures: `make bench NAME=audit [ENTRIES=100000]`.

- `append_overhead_ratio`: the UPDATE of `states.advance` and its commit, with its entry against
  without, alternating on one connection; medians.
- `writers_8_ratio`: entries a second that eight processes commit, against one.
- `integrate_per_s`: entries that get a position and a signed checkpoint, a second.
- `proof_p95_ms`: an inclusion proof at PROVEN entries (synthetic tiles), from opening a transaction
  to the text of the proof, with the look at who asks; without HTTP.
- `export_million_cpu_s`, `export_rss_mb`: processor time and peak memory of a process that streams
  a bundle of EXPORTED entries (without what opens them); the time is scaled to a million.
- `verify_million_s`, `standalone_million_s`: a bundle of ENTRIES verified by `broker log verify`
  and by `broker_verify`, start included, scaled to a million; `…_rss_mb` is that process's peak
  memory with ENTRIES entries, not scaled.

The server runs with fsync and synchronous commit on. There is no peer: what matters is the price of
an entry beside the act that it records. Single times go to standard error; the last line on
standard output is one JSON object.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import resource
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker import bootstrap, people, tenants, trail
from broker.audit import proofs
from broker.audit.bundle import EntryLine, Header, Opening, write_lines
from broker.audit.epochs import seal_due
from broker.audit.export import Export, stream
from broker.audit.integrate import integrate_all
from broker.audit.merkle import Frontier, leaf_hash
from broker.audit.note import Checkpoint, VerifierKey, checkpoint_text, sign_note
from broker.audit.proof_text import format_proof
from broker.db import Database
from broker.embedded import ROOT_FOLDER, EmbeddedServer, make_root_folder, running
from broker.entries import EntryDraft, build_entry
from broker.keys.keyring import Keyring
from broker.secret import Secret
from broker.settings import Control, Settings
from broker.states import Move, StatefulRow, advance
from broker.tx import Actor, system

ENTRIES = int(os.environ.get("ENTRIES", "100000"))
ROUNDS = 400
WRITES = 400  # of each writer
INTEGRATED = 20_000
PROVEN, PROOFS = int(os.environ.get("PROVEN", "10000000")), 400
EXPORTED = int(os.environ.get("EXPORTED", "100000"))
DURABLE = {"fsync": "on", "synchronous_commit": "on"}
ROOT = Path(__file__).parents[1]
BENCH = system("bench")
ORIGIN = "broker.example/log/log_bench"
VERIFIERS = {
    "verify": ["-m", "broker.cli", "log", "verify", "--no-memory"],
    "standalone": [str(ROOT / "broker_verify" / "broker_verify.py")],
}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Thing(StatefulRow):
    """A row with a state and nothing else."""

    __tablename__ = "bench_thing"


THERE, BACK = Move(("a",), "b", "grant.ended"), Move(("b",), "a", "grant.ended")
TABLE = """
CREATE TABLE bench_thing (id text PRIMARY KEY, tenant_id text, state text NOT NULL,
    state_at timestamptz NOT NULL, state_by text);
INSERT INTO bench_thing VALUES ('thing', NULL, 'a', now(), NULL);
GRANT SELECT, UPDATE ON bench_thing TO broker_app;
"""


@contextlib.contextmanager
def control() -> Iterator[tuple[Secret[str], Keyring, EmbeddedServer]]:
    """A migrated control database on a durable server; yields the application's login."""
    if os.geteuid() == 0:
        make_root_folder()
    root = ROOT_FOLDER if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(dir=root, prefix="bench-"))
    if os.geteuid() == 0:
        folder.chmod(0o755)
    server = EmbeddedServer(folder / "control", settings=DURABLE)
    try:
        with running(server):
            yield make_database(server), Keyring.create_folder(folder / "keyring"), server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_database(server: EmbeddedServer) -> Secret[str]:
    dsn = {}
    with superuser(server, "postgres") as connection:
        for role in ("broker_app", "broker_owner"):
            password = secrets.token_hex(16)
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
            host = server.host.replace("/", "%2F")
            dsn[role] = Secret(f"postgresql://{role}:{password}@{host}:{server.port}/control")
        connection.execute("CREATE DATABASE control OWNER broker_owner")
    bootstrap.migrate(
        Settings(control=Control(dsn=dsn["broker_app"], owner_dsn=dsn["broker_owner"]))
    )
    with superuser(server, "control") as connection:
        connection.execute(TABLE)
    return dsn["broker_app"]


def superuser(server: EmbeddedServer, dbname: str) -> psycopg.Connection:
    return psycopg.connect(
        host=server.host,
        port=server.port,
        user="postgres",
        password=server.password.reveal(),
        dbname=dbname,
        autocommit=True,
    )


# What an entry costs its writer.


def measure_append(database: Database) -> float:
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(ROUNDS + 20):
        for with_entry in (True, False):
            began = time.perf_counter()
            with database.begin(BENCH) as tx:
                thing = tx.session.get_one(Thing, "thing")
                move = THERE if thing.state == "a" else BACK
                if with_entry:
                    advance(tx, thing, move, facts={"why": "bench"})
                else:
                    update_alone(tx.session, thing, move, tx.at)
            if number >= 20:  # the first fill caches
                times[with_entry].append(time.perf_counter() - began)
    medians = {with_entry: statistics.median(values) for with_entry, values in times.items()}
    say(
        f"append: {medians[True] * 1e3:.2f} ms with, {medians[False] * 1e3:.2f} ms without an entry"
    )
    return medians[True] / medians[False]


def update_alone(session: object, thing: Thing, move: Move, at: datetime) -> None:
    """The first half of `states.advance`: all but its entry."""
    assert isinstance(session, sa.orm.Session)
    session.execute(
        sa.update(Thing)
        .where(Thing.id == thing.id, Thing.state.in_(move.froms))
        .values(state=move.to, state_at=at, state_by=None)
        .execution_options(synchronize_session=False)
        .returning(Thing.id)
    ).scalar_one()
    session.refresh(thing)


def write_entries(dsn: str, go: object, count: int) -> None:
    database = Database(Secret(dsn))
    with database.begin(BENCH):
        pass
    go.wait()  # type: ignore[attr-defined]  # a multiprocessing Barrier
    for _ in range(count):
        with database.begin(BENCH) as tx:
            trail.record(tx, None, "grant.ended", "grt_bench", {"why": "bench"})
    database.engine.dispose()


def measure_writers(dsn: Secret[str], writers: int) -> float:
    context = multiprocessing.get_context("spawn")
    go = context.Barrier(writers + 1)
    started = [
        context.Process(target=write_entries, args=(dsn.reveal(), go, WRITES))
        for _ in range(writers)
    ]
    for process in started:
        process.start()
    go.wait()
    began = time.perf_counter()
    for process in started:
        process.join()
    rate = writers * WRITES / (time.perf_counter() - began)
    say(f"{writers} writers: {rate:.0f} entries/s")
    return rate


def measure_integration(database: Database, keys: Keyring) -> float:
    integrate_all(database, keys)
    with database.begin(BENCH) as tx:
        log = tx.session.execute(
            sa.select(trail.AuditLog.id, trail.AuditLog.origin).where(
                trail.AuditLog.tenant_id.is_(None)
            )
        ).one()
        rows = [
            {"log_id": log.id, "subject": "grt_bench", "entry": make_entry(number, log.origin)[0]}
            for number in range(INTEGRATED)
        ]
        tx.session.execute(sa.insert(trail.AuditEntry), rows)
    began = time.perf_counter()
    assert integrate_all(database, keys) == INTEGRATED
    spent = time.perf_counter() - began
    say(f"integrated {INTEGRATED} entries in {spent:.2f} s")
    return INTEGRATED / spent


# What a proof costs in a long log.


def measure_proofs(dsn: Secret[str], server: EmbeddedServer) -> float:
    """The 95th percentile in milliseconds, each of an entry drawn at random."""
    database = Database(dsn)
    drawn = random.Random(7).sample(range(PROVEN), PROOFS)  # noqa: S311  # repeatable, no secret
    with database.begin(system("bench")) as tx:
        people.load_permissions(tx, ROOT / "config" / "permissions.toml")
        operator_id = people.add_person(tx, side="vendor", email="op@bench.test", name="Operator")
        people.add_membership(tx, operator_id, "operator", None)
    with database.begin(Actor("vendor", "bench", operator_id)) as tx:
        tenant_id, admin_id = tenants.enrol(
            tx,
            name="Bench",
            ticket_customer="bench",
            admin_email="admin@bench.test",
            admin_name="Admin",
            log_host="bench.test",
        )
    with superuser(server, "control") as connection:
        lengthen(connection, tenant_id, drawn)
    spent = []
    for index in drawn:
        began = time.perf_counter()
        with database.begin(Actor("tenant", "bench", admin_id)) as tx:
            text = format_proof(proofs.prove_entry(tx, tenant_id, index))
        spent.append((time.perf_counter() - began) * 1e3)
        assert text.count("\n") > 25
    database.close()
    say(f"proofs: median {statistics.median(spent):.2f} ms, most {max(spent):.1f} ms")
    return statistics.quantiles(spent, n=20)[18]


def lengthen(connection: psycopg.Connection, tenant_id: str, drawn: list[int]) -> None:
    """A log of PROVEN entries of which those alone are there that are asked for, or stand last."""
    tile = (
        "INSERT INTO audit_tile SELECT l.id, %s, n, sha256(n::text::bytea), "
        "decode(repeat(encode(sha256(n::text::bytea), 'hex'), 256), 'hex') "
        "FROM audit_log l, generate_series(0, %s) n WHERE tenant_id = %s"
    )
    level, full = 0, PROVEN // 256
    while full:
        connection.execute(tile, [level, full - 1, tenant_id])
        level, full = level + 1, full // 256
    there = sorted({*drawn, *range(PROVEN // 256 * 256, PROVEN)})
    connection.execute(
        "INSERT INTO audit_entry (log_id, subject, entry, idx, leaf_hash) "
        "SELECT l.id, 'x', '{}', i, sha256(i::text::bytea) "
        "FROM audit_log l, unnest(%s::bigint[]) AS i WHERE tenant_id = %s",
        [there, tenant_id],
    )
    note = f"bench\n{PROVEN}\n{'A' * 43}=\n\n— bench AAAA\n"
    connection.execute(
        "INSERT INTO audit_checkpoint SELECT id, %s, %s, now() FROM audit_log WHERE tenant_id = %s",
        [PROVEN, note, tenant_id],
    )
    connection.execute("ANALYZE")


# What a bundle costs whoever makes it.


def measure_export(dsn: Secret[str], server: EmbeddedServer) -> tuple[float, float]:
    """Seconds and peak memory of a process that streams the bundle of EXPORTED entries: they stand
    in the root log, which nothing else here uses.
    """
    assert seal_due(Database(dsn), 1)  # makes the root log
    with superuser(server, "control") as connection:
        connection.execute(
            "DELETE FROM audit_entry WHERE log_id IN (SELECT id FROM audit_log WHERE root)"
        )
        entry = make_entry(1)[0]
        connection.execute(
            "INSERT INTO audit_entry (log_id, subject, entry, idx, leaf_hash) "
            "SELECT l.id, 'grt_bench', %s, i, sha256(i::text::bytea) "
            "FROM audit_log l, generate_series(0, %s) AS i WHERE l.root",
            [entry, EXPORTED - 1],
        )
        connection.execute("ANALYZE audit_entry")
    context = multiprocessing.get_context("spawn")
    told: multiprocessing.Queue[tuple[float, float]] = context.Queue()
    process = context.Process(target=export_all, args=(dsn.reveal(), told))
    process.start()
    seconds, peak_mb = told.get()
    process.join()
    say(f"exported {EXPORTED} entries in {seconds:.1f} s of processor time, {peak_mb:.0f} MB")
    return seconds * 1_000_000 / EXPORTED, peak_mb


def export_all(dsn: str, told: object) -> None:
    database = Database(Secret(dsn))
    with database.begin(BENCH) as tx:
        log_id = tx.session.scalars(sa.select(trail.AuditLog.id).where(trail.AuditLog.root)).one()
    export = Export(log_id, EXPORTED, Header(ORIGIN, (), ()), lambda *_: [])
    began = time.process_time()
    for _ in stream(lambda: database.begin(BENCH), export):
        pass
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told.put((time.process_time() - began, peak_mb))  # type: ignore[attr-defined]  # a Queue
    database.close()


# What a customer pays to verify.


def make_entry(number: int, origin: str = ORIGIN) -> tuple[bytes, list[Opening]]:
    """Every tenth has a personal field, as in a real log."""
    draft = EntryDraft(
        kind="plan.read",
        at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
        log_origin=origin,
        actor={"side": "vendor", "via": "token", "id": "psn_aaaaaaaaaaaaaaaaaaaaaaaaaa"},
        subject=f"grt_{number // 20:026d}",  # twenty entries about each grant
        facts={"digest": "ab" * 32, "number": number},
        personal={} if number % 10 else {"reason": "the customer reports wrong totals"},
    )
    content, opened = build_entry(draft)
    return content, [Opening(number, item.field, item.salt, item.value) for item in opened]


def make_bundle(folder: Path) -> tuple[Path, Path]:
    """ENTRIES entries under a hundred checkpoints, and the key that signed them."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    notes, frontier = [], Frontier()
    body, bundle, key = folder / "body", folder / "bundle.json", folder / "keys"
    with body.open("wb") as out:  # the checkpoints stand first, and are known last
        for number in range(ENTRIES):
            content, opened = make_entry(number)
            frontier.append(leaf_hash(content))
            parts = iter([EntryLine(number, content), *opened])
            _, *lines, _ = write_lines(Header(ORIGIN, (), ()), parts)
            out.writelines(lines)
            if (number + 1) * 100 % ENTRIES < 100:
                text = checkpoint_text(Checkpoint(ORIGIN, number + 1, frontier.root()))
                notes.append(sign_note(text, ORIGIN, public, private.sign))
    first, _ = write_lines(Header(ORIGIN, tuple(notes), ()), iter(()))
    count = 1 + ENTRIES + len(range(0, ENTRIES, 10))
    with bundle.open("wb") as out, body.open("rb") as lines_of:
        out.write(first)
        shutil.copyfileobj(lines_of, out)
        out.write(b'{"lines":%d}\n' % count)
    body.unlink()
    key.write_text(VerifierKey(ORIGIN, public).format() + "\n")
    return bundle, key


# Started in between, because a process inherits the peak memory of the one that started it.
METER = """
import json, os, sys, time
began = time.perf_counter()
null = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
pid = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ, file_actions=null)
_, status, usage = os.wait4(pid, 0)
assert status == 0, status
print(json.dumps({
    "seconds": time.perf_counter() - began,
    "busy_s": usage.ru_utime + usage.ru_stime,
    "rss_mb": usage.ru_maxrss / 1024,
}))
"""


def measure_verifying(command: list[str], bundle: Path, key: Path) -> tuple[float, float]:
    """Seconds and peak memory of the whole process, as a customer starts it."""
    words = [sys.executable, "-c", METER, *command, str(bundle), "--key", str(key)]
    told = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    say(f"{' '.join(command)}: {ENTRIES} entries, {told}")
    return told["seconds"] * 1_000_000 / ENTRIES, told["rss_mb"]


def main() -> None:
    figures: dict[str, float | int | str] = {}
    with control() as (dsn, keys, server):
        database = Database(dsn)
        figures["append_overhead_ratio"] = round(measure_append(database), 3)
        one, eight = measure_writers(dsn, 1), measure_writers(dsn, 8)
        figures["writers_8_ratio"] = round(eight / one, 2)
        figures["append_per_s"] = round(eight)
        figures["integrate_per_s"] = round(measure_integration(database, keys))
        database.engine.dispose()
        figures["proof_p95_ms"] = round(measure_proofs(dsn, server), 2)
        figures["proof_entries"] = PROVEN
        seconds, peak_mb = measure_export(dsn, server)
        figures["export_million_cpu_s"], figures["export_rss_mb"] = (
            round(seconds, 1),
            round(peak_mb),
        )
        figures["exported_entries"] = EXPORTED
    with tempfile.TemporaryDirectory() as folder:
        bundle, key = make_bundle(Path(folder))
        figures["bundle_mb"] = round(bundle.stat().st_size / 1e6, 1)
        for prefix, command in VERIFIERS.items():
            seconds, peak_mb = measure_verifying(command, bundle, key)
            figures[f"{prefix}_million_s"] = round(seconds, 1)
            figures[f"{prefix}_rss_mb"] = round(peak_mb)
    figures["verified_entries"] = ENTRIES
    figures["scaled"] = "verify_million_s and standalone_million_s, from verified_entries"
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
