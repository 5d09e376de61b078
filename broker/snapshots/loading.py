"""Filling a copy: everything that is read from the tenant's server, and where it goes.

What must stay true: one snapshot for all readers, locks before it; what is approved is what is
read, and drift only masks more (G2, G5); masks run in the tenant's server (G4); the tenant's schema
is untrusted code that never runs as more than the sandbox's throw-away owner; a copy with something
missing is an error, never a success.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import sql

from broker.engines import Catalogue, Table, Target
from broker.engines.postgres.catalogue import read_catalogue
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import CopyFailed, ObjectId, SourceChanged, sandbox
from broker.engines.postgres.copying.archive import Archive, Section, dump_section, restore
from broker.engines.postgres.copying.checks import check_copy
from broker.engines.postgres.copying.exporter import Exporter
from broker.engines.postgres.copying.rows import RowSource, RowTarget, copy_rows
from broker.engines.postgres.copying.sequences import analyze, set_sequences
from broker.engines.postgres.copying.toc import Skipped, TocEntry, find_reason_to_skip
from broker.engines.postgres.masks import SESSION_KEY, find_obstacle, masked_select, session_options
from broker.engines.postgres.scram import make_verifier, new_password
from broker.faults import crash_point
from broker.grants.plan import Plan, TablePlan, make_plan, more_masked
from broker.grants.policy import Policy
from broker.labels import Label
from broker.sealing import Manifest, Sealed
from broker.secret import Secret
from broker.snapshots.artifacts import put_label, put_sealed, sealed_object
from broker.snapshots.model import Snapshot
from broker.snapshots.progress import Watch
from broker.snapshots.spot import check_spots
from broker.stores import Store

_PARALLEL = 2
_STARTS = 3
_LOAD_MAX = timedelta(hours=24)
MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that filling a copy takes."""

    snapshot: Snapshot
    plan: Plan
    policy: Policy
    source: Target
    server: Target
    store: Store
    data_key: Secret[bytes]
    label_key: Secret[bytes]
    watch: Watch

    def sandbox_target(self, user: str, password: Secret[str]) -> Target:
        return replace(self.server, dbname=self.snapshot.sandbox, user=user, password=password)


@dataclass(frozen=True, slots=True)
class Filled:
    """`report` tells an engineer what differs from production (tables, objects, drift)."""

    manifest: Sealed
    tables: int
    rows: int
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Source:
    """A held snapshot, its catalogue, and the plan as it is carried out."""

    exporter: Exporter
    catalogue: Catalogue
    plan: Plan
    drift: tuple[str, ...]

    def planned(self) -> Iterator[tuple[Table, TablePlan]]:
        """Tables that hold rows themselves and whose rows are read."""
        for table in self.catalogue.tables:
            planned = self.plan.find_table(table.full_name)
            if planned is not None and planned.rows and table.kind != "partitioned":
                yield table, planned


def fill(job: Job) -> Filled:
    """Read, mask, seal, load and check. Raises CopyFailed, SourceChanged, SourceBusy, CopyStopped,
    ServerUnavailable, StoreUnavailable; the caller clears away what is left then.
    """
    masking_key = Secret(secrets.token_bytes(32))
    job.watch.step("definitions")
    with ExitStack() as stack:
        source = stack.enter_context(_hold(job))
        _make_places(job)
        owner = _open_owner(job)
        stack.callback(sandbox.close_owner, job.server, job.snapshot.owner_role)
        before = stack.enter_context(_dump(job, source, "pre-data"))
        after = stack.enter_context(_dump(job, source, "post-data"))
        sealed = [_seal_archive(job, "pre-data", before), _seal_archive(job, "post-data", after)]
        skipped = restore(before, owner, skip=find_reason_to_skip)
        job.watch.step("rows")
        rows, objects = _copy_tables(job, source, owner, masking_key)
        sealed += objects
        job.watch.step("indexes")
        left_out = _find_left_out(source)
        skipped += _restore_post_data(job, source, owner, after, left_out)
        job.watch.step("checks")
        _check(source, owner, rows, [*(entry.entry.id for entry in skipped), *left_out])
        check_spots(job.source, owner, source.exporter, list(source.planned()))
        manifest = _seal_manifest(job, source, sealed, rows)
    sandbox.grant_connect(job.server, job.snapshot.sandbox, job.snapshot.use_role)
    report = _report(source, skipped, rows)
    return Filled(manifest, len(rows), sum(rows.values()), report)


@contextmanager
def _hold(job: Job) -> Iterator[_Source]:
    """Locks, then the snapshot, then the catalogue under it; anew if something changed between."""
    for attempt in range(1, _STARTS + 1):
        with connect(job.source) as connection:
            names = [(t.schema, t.name) for t in read_catalogue(connection).tables]
        try:
            exporter = Exporter(job.source, names).__enter__()
        except SourceChanged:
            if attempt == _STARTS:
                raise
            continue
        try:
            catalogue = read_catalogue(exporter.connection)
            if [(t.schema, t.name) for t in catalogue.tables] == names or attempt == _STARTS:
                fresh = make_plan(job.policy, catalogue, find_obstacle)
                plan, drift = more_masked(job.plan, fresh)
                yield _Source(exporter, catalogue, plan, drift)
                return
        finally:
            exporter.__exit__(None, None, None)


def _make_places(job: Job) -> None:
    """Each with its label before anything is in it, so that the reaper can end it alone (G14)."""
    snapshot, key = job.snapshot, job.label_key

    def label(kind: str, place: str) -> str:
        return Label(kind, snapshot.id, snapshot.ends_at, place).text(key)

    put_label(job.store, snapshot.prefix, label("artifact", snapshot.prefix))
    sandbox.create_sandbox(
        job.server,
        sandbox.NewSandbox(
            name=snapshot.sandbox,
            label=label("sandbox", snapshot.sandbox),
            owner=snapshot.owner_role,
            owner_label=label("sandbox", snapshot.owner_role),
            encoding=_encoding(job),
        ),
    )
    sandbox.create_role(job.server, snapshot.use_role, label("sandbox", snapshot.use_role))
    crash_point("sandbox-made")


def _encoding(job: Job) -> str:
    with connect(job.source) as connection:
        return connection.info.parameter_status("server_encoding") or "UTF8"


def _open_owner(job: Job) -> Target:
    """The throw-away owner may log in only while this load runs; its password is only here."""
    password = new_password()
    until = min(job.snapshot.ends_at, datetime.now(UTC) + _LOAD_MAX)
    sandbox.open_owner(job.server, job.snapshot.owner_role, make_verifier(password), until)
    return job.sandbox_target(job.snapshot.owner_role, password)


def _dump(job: Job, source: _Source, section: Section) -> Archive:
    return dump_section(job.source, section, source.exporter.snapshot_id)


def _seal_archive(job: Job, name: str, archive: Archive) -> Sealed:
    snapshot = job.snapshot
    return put_sealed(
        job.store, snapshot.prefix, name, job.data_key, snapshot.id, archive.read_bytes()
    )


def _copy_tables(
    job: Job, source: _Source, owner: Target, masking_key: Secret[bytes]
) -> tuple[dict[tuple[str, str], int], list[Sealed]]:
    """All tables with rows, largest first, two at a time; one failure ends the rest."""
    tables = sorted(source.planned(), key=lambda pair: -pair[0].size_bytes)
    names = {id(pair[1]): f"table-{number:05}" for number, pair in enumerate(tables)}
    options: dict[str, str | Secret[str]] = {
        **source.exporter.reader_options,
        **session_options(masking_key),
    }
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="copy") as pool:
        futures = [
            pool.submit(_copy_table, job, source, owner, options, pair, names[id(pair[1])])
            for pair in tables
        ]
        try:
            objects = [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    rows = {(table.schema, table.name): _count(source, table) for table, _ in tables}
    return rows, objects


def _copy_table(
    job: Job,
    source: _Source,
    owner: Target,
    options: Mapping[str, str | Secret[str]],
    pair: tuple[Table, TablePlan],
    name: str,
) -> Sealed:
    table, planned = pair
    select, columns = masked_select(table, planned.fates(), SESSION_KEY)
    snapshot = job.snapshot
    with (
        connect(owner) as connection,
        sealed_object(job.store, snapshot.prefix, name, job.data_key, snapshot.id) as writer,
    ):

        def tee(block: bytes) -> None:
            writer.write(block)

        def checkpoint(bytes_so_far: int) -> None:
            crash_point("mid-copy")
            job.watch.moved(table.full_name, bytes_so_far)

        copy_rows(
            RowSource(job.source, source.exporter.snapshot_id, select, options),
            RowTarget(connection, (table.schema, table.name), columns),
            tee=tee,
            checkpoint=checkpoint,
        )
    job.watch.table_done()
    return writer.sealed


def _count(source: _Source, table: Table) -> int:
    """What the source holds, asked of the source: not what our own stream says it carried."""
    query = sql.SQL("SELECT pg_catalog.count(*) FROM ONLY {}")
    row = source.exporter.connection.execute(
        query.format(sql.Identifier(table.schema, table.name))
    ).fetchone()
    return int(row[0]) if row else 0


def _find_left_out(source: _Source) -> list[ObjectId]:
    """Foreign keys that point at tables whose rows stay out: they could not hold."""
    without = {
        (table.schema, table.name)
        for table in source.catalogue.tables
        if (planned := source.plan.find_table(table.full_name)) is None or not planned.rows
    }
    oids = source.exporter.constraint_oids()
    return [
        oids[table.schema, table.name, constraint.name]
        for table in source.catalogue.tables
        for constraint in table.constraints
        if constraint.kind == "foreign" and constraint.target in without
        if (table.schema, table.name, constraint.name) in oids
    ]


def _restore_post_data(
    job: Job, source: _Source, owner: Target, archive: Archive, left_out: list[ObjectId]
) -> list[Skipped]:
    outside = frozenset(left_out)

    def skip(entry: TocEntry) -> str | None:
        if entry.id in outside:
            return "it points at a table whose rows were left out"
        return find_reason_to_skip(entry)

    skipped = restore(archive, owner, skip=skip, jobs=_PARALLEL)
    with connect(owner) as connection:
        set_sequences(source.exporter.connection, connection)
        analyze(connection)
        sandbox.grant_use(connection, job.snapshot.use_role)
    return skipped


def _check(
    source: _Source, owner: Target, rows: Mapping[tuple[str, str], int], skipped: list[ObjectId]
) -> None:
    with connect(owner) as connection:
        problems = check_copy(source.exporter.connection, connection, rows, skipped)
    if problems:
        raise CopyFailed("the copy is not whole: " + "; ".join(problems[:5]), problems=problems)


def _seal_manifest(
    job: Job, source: _Source, sealed: list[Sealed], rows: Mapping[tuple[str, str], int]
) -> Sealed:
    facts: dict[str, str | int] = {"plan": source.plan.digest()}
    facts |= {f"rows:{schema}.{name}": count for (schema, name), count in rows.items()}
    content = Manifest(tuple(sealed), facts).to_bytes()
    snapshot = job.snapshot
    return put_sealed(job.store, snapshot.prefix, MANIFEST, job.data_key, snapshot.id, content)


def _report(
    source: _Source, skipped: list[Skipped], rows: Mapping[tuple[str, str], int]
) -> dict[str, Any]:
    return {
        "rows": {f"{schema}.{name}": count for (schema, name), count in sorted(rows.items())},
        "structure_only": {t.full_name: t.note for t in source.plan.tables if not t.rows},
        "left_out": [f"{item.entry.kind.lower()}: {item.why}" for item in skipped],
        "drift": list(source.drift),
        "plan": source.plan.digest(),
    }
