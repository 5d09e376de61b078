"""Canaries in every copy: real values of each hidden column, searched for in what was loaded.

They are taken inside the tenant's server before a row is read, as keyed digests, from rows chosen
at random; then the whole loaded column is searched in the sandbox. The key is made for this look
alone: not the masking key, which never gets near the sandbox, where the tenant's own code could
read it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg import sql

from broker.engines import Table, Target
from broker.engines.postgres.canaries import PROBE, Canary, count_canaries, take_canaries
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import CopyFailed
from broker.engines.postgres.copying.exporter import Exporter
from broker.engines.postgres.copying.rows import Connection, reading_session, source_errors
from broker.engines.postgres.masks import SESSION_KEY, session_options
from broker.grants.plan import TablePlan
from broker.secret import Secret


@dataclass(frozen=True, slots=True)
class Canaries:
    """By table and column; `probe` is what the source's hash gave for a word of ours."""

    found: Sequence[tuple[Table, dict[str, list[Canary]]]]
    probe: int
    key: Secret[bytes] = field(repr=False)

    @property
    def count(self) -> int:
        return sum(len(some) for _, columns in self.found for some in columns.values())


def take(
    source: Target,
    exporter: Exporter,
    tables: Sequence[tuple[Table, TablePlan]],
    condition: Callable[[Table], sql.Composed | None],
) -> Canaries:
    """`condition` chooses the rows that are copied. Raises CopyFailed, SourceBusy."""
    key = Secret(secrets.token_bytes(32))
    options: dict[str, str | Secret[str]] = {**exporter.reader_options, **session_options(key)}
    found: list[tuple[Table, dict[str, list[Canary]]]] = []
    with reading_session(source, exporter.snapshot_id, options) as reader, source_errors():
        for table, planned in tables:
            taking = take_canaries(table, planned.fates(), SESSION_KEY, condition(table))
            columns: dict[str, list[Canary]] = {}
            for name, digest, bucket in reader.execute(taking).fetchall() if taking else ():
                columns.setdefault(name, []).append(Canary(digest, bucket))
            if columns:
                found.append((table, columns))
        return Canaries(found, _probe(reader), key)


def _probe(connection: Connection) -> int:
    row = connection.execute(PROBE).fetchone()
    return int(row[0]) if row else -1


def check_none_found(canaries: Canaries, owner: Target, checkpoint: Callable[[], None]) -> None:
    """Raises CopyFailed naming the columns in which a real value was found."""
    with _sandbox(canaries, owner) as sandbox:
        leaks: list[str] = []
        for table, columns in canaries.found:
            checkpoint()
            row = sandbox.execute(count_canaries(table, columns, SESSION_KEY)).fetchone() or ()
            counts = zip(columns, row, strict=True)
            leaks += [f"{table.full_name}.{name}" for name, count in counts if count]
    if leaks:
        raise CopyFailed("real values were found in masked columns: " + ", ".join(leaks))


@contextmanager
def _sandbox(canaries: Canaries, owner: Target) -> Iterator[Connection]:
    with connect(owner, options=session_options(canaries.key)) as sandbox:
        if _probe(sandbox) != canaries.probe:
            raise CopyFailed(
                "the tenant's server and the test server hash texts differently, so real values "
                "can't be searched for; use a test server of the same kind of processor"
            )
        yield sandbox
