"""The spot check: no masked column equals its source, seen by digest on both sides.

Some real values of each hidden column are turned into keyed digests inside the tenant's server, and
the first values of the loaded column are searched for them in the sandbox. The key is made for this
check alone: not the masking key, which never gets near the sandbox, where the tenant's own code
could read it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from psycopg import sql

from broker.engines import Column, Table, Target
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import CopyFailed
from broker.engines.postgres.copying.exporter import Exporter
from broker.engines.postgres.masks import SESSION_KEY, session_options, spot_count, spot_sample
from broker.grants.plan import TablePlan
from broker.secret import Secret

_SAMPLE = 50
_SEARCHED = 5_000  # values of a column in the sandbox; all of them would cost more than the copy


def check_spots(
    source: Target,
    owner: Target,
    exporter: Exporter,
    tables: Sequence[tuple[Table, TablePlan]],
    condition: Callable[[Table], sql.Composed | None],
) -> None:
    """`condition` chooses the rows that were copied.

    Raises CopyFailed naming the columns in which a real value was found.
    """
    options = session_options(Secret(secrets.token_bytes(32)))
    found: list[str] = []
    with (
        connect(source, options={**exporter.reader_options, **options}) as reader,
        connect(owner, options=options) as sandbox,
    ):
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        snapshot = sql.Literal(exporter.snapshot_id)
        reader.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot))
        for table, planned in tables:
            where = condition(table)
            sample = spot_sample(table, planned.fates(), SESSION_KEY, _SAMPLE, where)
            if sample is None:
                continue
            columns = {column.name: column for column in table.columns}
            for name, digests in reader.execute(sample).fetchall():
                column: Column = columns[name]
                count = spot_count(table, column, digests, SESSION_KEY, _SEARCHED)
                row = sandbox.execute(count).fetchone()
                if digests and row is not None and row[0]:
                    found.append(f"{table.full_name}.{name}")
    if found:
        raise CopyFailed("real values were found in masked columns: " + ", ".join(found))
