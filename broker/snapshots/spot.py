"""Canaries in every copy: real values of each hidden column, searched for in what was loaded.

They are taken inside the tenant's server before a row is read, as keyed digests, from rows chosen
at random; then the whole loaded column is searched in the sandbox. The key is made for these looks
alone: not the masking key, which never gets near the sandbox, where the tenant's own code could
read it. Key and digests are sealed with the copy, for a last search before it is dropped
(`searching`).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field

from psycopg import sql

from broker.engines import Column, Table, Target
from broker.engines.postgres.canaries import PROBE, Canary, count_canaries, take_canaries
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import CopyFailed
from broker.engines.postgres.copying.exporter import Exporter
from broker.engines.postgres.copying.rows import Connection, reading_session, source_errors
from broker.engines.postgres.line import bounded
from broker.engines.postgres.masks import SESSION_KEY, session_options
from broker.grants.plan import TablePlan
from broker.secret import Secret

CANARIES = "canaries"  # the sealed object


@dataclass(frozen=True, slots=True)
class Canaries:
    """By table and column; `probe` is what the source's hash gave for a word of ours."""

    found: Sequence[tuple[Table, dict[str, list[Canary]]]]
    probe: int
    key: Secret[bytes] = field(repr=False)

    @property
    def count(self) -> int:
        return sum(len(some) for _, columns in self.found for some in columns.values())

    def to_bytes(self) -> bytes:
        """JSON, to be sealed: with the key, a dictionary of guesses can be tried on the digests."""
        tables = [
            {
                "table": {"schema": table.schema, "name": table.name, "kind": table.kind},
                "columns": [asdict(c) for c in table.columns if c.name in columns],
                "canaries": {
                    name: [[one.digest, one.bucket] for one in some]
                    for name, some in columns.items()
                },
            }
            for table, columns in self.found
        ]
        document = {"tables": tables, "probe": self.probe, "key": self.key.reveal().hex()}
        return json.dumps(document).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Canaries:
        """What `to_bytes` gave, and a seal has vouched for."""
        document = json.loads(content)
        found = [
            (
                Table(**one["table"], columns=tuple(Column(**c) for c in one["columns"])),
                {n: [Canary(*pair) for pair in pairs] for n, pairs in one["canaries"].items()},
            )
            for one in document["tables"]
        ]
        return cls(found, document["probe"], Secret(bytes.fromhex(document["key"])))


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
    if leaks := list_found(canaries, owner, checkpoint):
        raise CopyFailed("real values were found in masked columns: " + ", ".join(leaks))


def list_found(
    canaries: Canaries, owner: Target, checkpoint: Callable[[], None], *, short: bool = False
) -> list[str]:
    """Full names of columns in which a real value stands. A `short` search is cut off after
    `line.LIMIT_S`, also when the server hangs.
    """
    leaks: list[str] = []
    with _sandbox(canaries, owner, bounded if short else nullcontext) as sandbox:
        for table, columns in canaries.found:
            checkpoint()
            row = sandbox.execute(count_canaries(table, columns, SESSION_KEY)).fetchone() or ()
            counts = zip(columns, row, strict=True)
            leaks += [f"{table.full_name}.{name}" for name, count in counts if count]
    return leaks


@contextmanager
def _sandbox(
    canaries: Canaries, owner: Target, limit: Callable[[Connection], AbstractContextManager[object]]
) -> Iterator[Connection]:
    options = session_options(canaries.key)
    with connect(owner, options=options) as sandbox, limit(sandbox):
        if _probe(sandbox) != canaries.probe:
            raise CopyFailed(
                "the tenant's server and the test server hash texts differently, so real values "
                "can't be searched for; use a test server of the same kind of processor"
            )
        yield sandbox
