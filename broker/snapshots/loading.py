"""Filling a copy: everything that is read from the tenant's server, and where it goes.

What must stay true: one snapshot for all readers, locks before it; what is approved is what is
read, and drift only masks more (G2, G5); masks run in the tenant's server (G4); the tenant's schema
is untrusted code that never runs as more than the sandbox's throw-away owner; a copy with something
missing is an error, never a success.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import sql

from broker.engines import Catalogue, Table, Target
from broker.engines.ownership import Owned, find_owned
from broker.engines.postgres.catalogue import read_catalogue
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import CopyFailed, ObjectId, SourceChanged, sandbox
from broker.engines.postgres.copying.archive import (
    Archive,
    dump_definitions,
    restore,
)
from broker.engines.postgres.copying.binary import can_be_binary
from broker.engines.postgres.copying.checks import check_copy
from broker.engines.postgres.copying.exporter import Exporter
from broker.engines.postgres.copying.rows import (
    Connection,
    CopiedRows,
    Load,
    RowSource,
    RowTarget,
    copy_rows,
    loading,
    reading_session,
    source_errors,
)
from broker.engines.postgres.copying.sequences import (
    SequenceState,
    analyze,
    set_sequences,
    set_sequences_by_rows,
)
from broker.engines.postgres.copying.toc import Skipped, TocEntry
from broker.engines.postgres.copying.yielding import Yielding
from broker.engines.postgres.masks import SESSION_KEY, find_obstacle, masked_select, session_options
from broker.faults import crash_point
from broker.grants.drift import more_masked
from broker.grants.plan import Plan, TablePlan, check_same_tenancy, make_plan
from broker.grants.policy import Policy
from broker.grants.room import needed_bytes
from broker.sealing import MANIFEST_NAME, Manifest, Sealed
from broker.secret import Secret
from broker.snapshots import spot
from broker.snapshots.artifacts import put_sealed, sealed_object
from broker.snapshots.batches import SMALL_BYTES, group
from broker.snapshots.contents import DEFINITIONS, Contents, SealedTable
from broker.snapshots.fidelity import Locales, make_report
from broker.snapshots.parallel import WORKERS, run_in_lanes
from broker.snapshots.places import Places
from broker.snapshots.progress import Watch
from broker.snapshots.tenant_part import Part
from broker.stores import Store
from broker.tenancy import Tenancy

_STARTS = 3
_LOCALE = """
    SELECT datcollate FROM pg_catalog.pg_database
    WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()"""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that filling a copy takes. `source` carries this copy's own application name."""

    places: Places
    plan: Plan
    policy: Policy
    source: Target
    schemas: tuple[str, ...]  # that the tenant registered: nothing of another is read or copied
    tenancy: Tenancy
    store: Store
    data_key: Secret[bytes]
    watch: Watch
    reserve: Callable[[int], None]  # so many bytes on the test server. Raises NoRoom

    def seal(self, name: str, content: bytes) -> Sealed:
        snapshot = self.places.snapshot
        return put_sealed(self.store, snapshot.prefix, name, self.data_key, snapshot.id, content)


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
    schemas: tuple[str, ...]
    part: Part
    checkpoint: Callable[[], None]

    def planned(self) -> Iterator[tuple[Table, TablePlan]]:
        """Tables that hold rows themselves and whose rows are read.

        Among other tenants' rows a root is read with its parts: the catalogue does not name them.
        """
        for table in self.catalogue.tables:
            planned = self.plan.find_table(table.full_name)
            holds = table.kind != "partitioned" or not self.part.is_whole
            if planned is not None and planned.rows and holds:
                yield table, planned


def fill(job: Job) -> Filled:
    """Read, mask, seal, load and check. Raises CopyFailed, NoRoom, SourceChanged, SourceBusy,
    CopyStopped, ServerUnavailable, StoreUnavailable; the caller clears away what is left then.
    """
    masking_key = Secret(secrets.token_bytes(32))
    job.watch.step("definitions")
    with ExitStack() as stack:
        yielding = stack.enter_context(Yielding(job.source))
        source = stack.enter_context(_hold(job, yielding))
        job.reserve(needed_bytes(source.plan))  # tables may have grown since the order
        encoding = _encoding(source)
        job.places.label_artifact(job.store)
        job.places.make_sandbox(encoding)
        owner = job.places.open_owner()
        stack.callback(job.places.close_owner)
        archive = stack.enter_context(_dump(job, source))
        sealed = [job.seal(DEFINITIONS, archive.read_bytes())]
        skipped = restore(archive, owner, "pre-data", checkpoint=source.checkpoint)
        job.watch.step("rows")
        canaries = spot.take(
            job.source, source.exporter, list(source.planned()), source.part.condition
        )
        sealed.append(job.seal(spot.CANARIES, canaries.to_bytes()))
        tables, objects = _copy_tables(job, source, owner, masking_key)
        job.watch.step("indexes")
        left_out = _find_left_out(source)
        skipped += restore_post_data(archive, owner, left_out, source.checkpoint)
        sequences = _finish(job, source, owner)
        job.watch.step("checks")
        _check(source, owner, tables, [*(entry.entry.id for entry in skipped), *left_out])
        spot.check_none_found(canaries, owner, source.checkpoint)
        with connect(owner) as connection:
            locales = Locales(_read_locale(source.exporter.connection), _read_locale(connection))
        report = make_report(source.plan, tables, skipped, source.drift, locales)
        report["canaries"] = canaries.count
        contents = Contents(
            plan=source.plan.digest(),
            encoding=encoding,
            tables=tuple(tables),
            sequences=tuple(sequences),
            left_out=tuple(left_out),
        )
        manifest = Manifest((*sealed, *objects), contents.to_facts())
        sealed_manifest = job.seal(MANIFEST_NAME, manifest.to_bytes())
    job.places.let_leases_in()
    return Filled(
        sealed_manifest,
        len(tables),
        sum(table.rows for table in tables),
        report,
    )


@contextmanager
def _hold(job: Job, yielding: Yielding) -> Iterator[_Source]:
    """Locks, then the snapshot, then the catalogue under it; anew if something changed between."""
    check_same_tenancy(job.plan, job.tenancy.digest())

    def checkpoint() -> None:
        yielding.check()
        job.watch.tick()

    for attempt in range(1, _STARTS + 1):
        with connect(job.source) as connection:
            names = [(t.schema, t.name) for t in read_catalogue(connection, job.schemas).tables]
        try:
            exporter = Exporter(job.source, names).__enter__()
        except SourceChanged:
            if attempt == _STARTS:
                raise
            continue
        try:
            catalogue = read_catalogue(exporter.connection, job.schemas)
            if [(t.schema, t.name) for t in catalogue.tables] == names:
                owned = find_owned(catalogue, job.tenancy, job.schemas)
                plan, drift = more_masked(job.plan, _plan_afresh(job, owned))
                part = Part(owned, exporter.connection, plan)
                yield _Source(exporter, owned.catalogue, plan, drift, job.schemas, part, checkpoint)
                return
        finally:
            exporter.__exit__(None, None, None)
    raise SourceChanged("tables come and go at the source; the copy is tried again later")


def _plan_afresh(job: Job, owned: Owned) -> Plan:
    return make_plan(
        job.policy,
        owned.catalogue,
        find_obstacle,
        whose=owned.whose,
        tenancy=job.tenancy.digest(),
    )


def _encoding(source: _Source) -> str:
    return source.exporter.connection.info.parameter_status("server_encoding") or "UTF8"


def _dump(job: Job, source: _Source) -> Archive:
    return dump_definitions(
        job.source,
        source.exporter.snapshot_id,
        schemas=job.schemas,
        checkpoint=source.checkpoint,
    )


@dataclass(frozen=True, slots=True)
class _Lane:
    """What a thread keeps open between tables: a reader on the snapshot, the sandbox's owner.
    `options` are the reader's, for a child that reads as it does.
    """

    reader: Connection
    owner: Connection
    options: Mapping[str, str | Secret[str]]


def _copy_tables(
    job: Job, source: _Source, owner: Target, masking_key: Secret[bytes]
) -> tuple[list[SealedTable], list[Sealed]]:
    """All tables with rows, largest first, in two lanes; one failure ends the rest."""
    options: dict[str, str | Secret[str]] = {
        **source.exporter.reader_options,
        **session_options(masking_key),
    }
    snapshot_id = source.exporter.snapshot_id

    @contextmanager
    def open_lane() -> Iterator[_Lane]:
        with reading_session(job.source, snapshot_id, options) as reader, connect(owner) as into:
            yield _Lane(reader, into, options)

    done = run_in_lanes(
        [
            partial(_copy_batch, job, source, pairs, f"table-{number:05}")
            for number, pairs in enumerate(group(source.planned(), _size))
        ],
        open_lane,
    )
    return [table for tables, _ in done for table in tables], [sealed for _, sealed in done]


def _size(pair: tuple[Table, TablePlan]) -> int:
    return pair[0].size_bytes


@dataclass(frozen=True, slots=True)
class _Read:
    """A table as it is read: the statement, and where its rows go."""

    table: Table
    select: sql.Composed
    into: RowTarget
    small: bool


def _copy_batch(
    job: Job,
    source: _Source,
    pairs: Sequence[tuple[Table, TablePlan]],
    name: str,
    lane: _Lane,
) -> tuple[list[SealedTable], Sealed]:
    """One large table, or several small ones: together in an object and a transaction."""
    reads = [_prepare(source, pair, lane) for pair in pairs]
    snapshot = job.places.snapshot
    with (
        sealed_object(job.store, snapshot.prefix, name, job.data_key, snapshot.id) as writer,
        loading([read.into for read in reads]) as load,
    ):

        def tee(block: bytes) -> None:
            writer.write(block)

        copied = [_copy_table(job, source, read, lane, tee, load) for read in reads]
    tables = [
        SealedTable(
            *((name,), *read.into.table, tuple(read.into.columns)),
            # Of a small one the source has counted what it gave, and the sandbox as many.
            rows=done.rows if read.small else source.part.count(read.table, lane.reader),
            binary=read.into.binary,
            size_bytes=done.bytes,
        )
        for read, done in zip(reads, copied, strict=True)
    ]
    return tables, writer.sealed


def _copy_table(
    job: Job,
    source: _Source,
    read: _Read,
    lane: _Lane,
    tee: Callable[[bytes], None],
    load: Load,
) -> CopiedRows:
    def checkpoint(bytes_so_far: int) -> None:
        crash_point("mid-copy")
        source.checkpoint()
        job.watch.moved(read.table.full_name, bytes_so_far)

    session = lane.reader if read.small else None
    reading = RowSource(
        job.source, source.exporter.snapshot_id, read.select, lane.options, session=session
    )
    copied = copy_rows(reading, read.into, tee=tee, checkpoint=checkpoint, load=load)
    job.watch.table_done()
    return copied


def _prepare(source: _Source, pair: tuple[Table, TablePlan], lane: _Lane) -> _Read:
    table, planned = pair
    where = source.part.condition(table)
    select, columns = masked_select(table, planned.fates(), SESSION_KEY, where)
    small = table.size_bytes < SMALL_BYTES
    binary = not small and _can_be_binary(table, select, lane)
    into = RowTarget(lane.owner, (table.schema, table.name), columns, binary)
    return _Read(table, select, into, small)


def _can_be_binary(table: Table, select: sql.Composed, lane: _Lane) -> bool:
    base_types = [column.base_type for column in table.columns if not column.generated]
    with source_errors():
        return can_be_binary(lane.reader, select, lane.owner, base_types)


def _find_left_out(source: _Source) -> list[ObjectId]:
    """Foreign keys that point at tables, or at others' rows, that stay out: they could not hold."""
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
        if constraint.kind == "foreign"
        and (constraint.target in without or source.part.is_left(table, constraint))
        if (table.schema, table.name, constraint.name) in oids
    ]


def restore_post_data(
    archive: Archive,
    owner: Target,
    left_out: Collection[ObjectId],
    checkpoint: Callable[[], None],
) -> list[Skipped]:
    """Indexes, constraints, triggers and the like; `left_out` are ids that would not hold."""
    outside = frozenset(left_out)

    def skip(entry: TocEntry) -> str | None:
        return "it points at rows that were left out" if entry.id in outside else None

    return restore(archive, owner, "post-data", skip=skip, jobs=WORKERS, checkpoint=checkpoint)


def _finish(job: Job, source: _Source, owner: Target) -> list[SequenceState]:
    with connect(owner) as connection:
        if source.part.is_whole:
            states = set_sequences(source.exporter.connection, connection)
        else:  # how far they stand tells how much all tenants together have
            states = set_sequences_by_rows(connection)
        analyze(connection)
        sandbox.grant_use(connection, job.places.snapshot.use_role)
    return states


def _check(
    source: _Source, owner: Target, tables: list[SealedTable], skipped: list[ObjectId]
) -> None:
    rows = {(table.schema, table.name): table.rows for table in tables}
    with connect(owner) as connection:
        problems = check_copy(source.exporter.connection, connection, rows, skipped, source.schemas)
    if problems:
        raise CopyFailed("the copy is not whole: " + "; ".join(problems[:5]), problems=problems)


def _read_locale(connection: Connection) -> str:
    row = connection.execute(_LOCALE).fetchone()
    return str(row[0]) if row else ""
