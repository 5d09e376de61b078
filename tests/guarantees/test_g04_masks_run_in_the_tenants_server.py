"""G4. What is to be masked never leaves the tenant's server in clear.

What the server delivers is teed into the sealed artifact undecoded, so the artifact's plaintext is
what crossed the wire. Masks have tests of their own in tests/engines/; issue C deepens it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.demo.canaries import KEPT_IN_COLUMN, needles
from broker.demo.scan import must_find, scan
from tests.stories import control_superuser, ready_copy, unseal_all
from tests.world import World, connect


def test_no_masked_value_is_in_what_was_delivered_nor_anywhere_behind_it(
    world: World, tmp_path: Path
) -> None:
    grant_id, snapshot_id = ready_copy(world)
    lease_id, password = world.lease(grant_id)
    world.work()
    unseal_all(world, snapshot_id, tmp_path / "delivered")
    views = tmp_path / "views"
    with world.login(lease_id, password) as session:
        names = session.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'v'"
            " AND relnamespace = current_schema()::regnamespace"
        ).fetchall()
        rows = [session.execute(f"SELECT * FROM {name}").fetchall() for (name,) in names]
    assert len(rows) > 5
    views.write_text(repr(rows))
    for server, database in ((world.live, world.crm), (world.test, "postgres")):
        with connect(server, database) as connection:
            connection.execute("CHECKPOINT")
    with control_superuser(world) as connection:
        control = tmp_path / "control"
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        dump = [connection.execute(f"SELECT t::text FROM {t} t").fetchall() for (t,) in tables]
    control.write_text(repr(dump))

    canaries = needles(world.marks.canaries)
    behind = {
        "delivered": tmp_path / "delivered",
        "views": views,
        "sandbox server": world.test.data,
        "store": world.broker.settings.store.folder or Path(),
        "control database": control,
    }
    kept = needles({KEPT_IN_COLUMN: world.marks.kept[KEPT_IN_COLUMN]})
    report = scan({"tenant's server": world.live.data, **behind}, {**canaries, **kept})
    must_find(report, "tenant's server", [*canaries, *kept])
    for place in ("delivered", "views", "sandbox server"):
        must_find(report, place, kept)  # the search sees: what was approved as kept is there
    leaks = [hit for hit in report.hits if hit.root in behind and hit.needle in canaries]
    assert leaks == []


@pytest.mark.parametrize("column", ["last_name", "email", "phone", "notes", "tags"])
def test_a_masked_column_never_gives_a_real_value_to_a_question(world: World, column: str) -> None:
    """Masked rows can't be told apart by asking for a value that one knows."""
    grant_id = world.approved()
    lease_id, password = world.lease(grant_id)
    world.work()
    with connect(world.live, world.crm) as connection:
        (real,) = connection.execute(
            f"SELECT {column}::text FROM crm.contacts WHERE {column} IS NOT NULL LIMIT 1"
        ).fetchone() or ("",)
    with world.login(lease_id, password) as session:
        found = session.execute(
            f"SELECT count(*) FROM contacts WHERE {column}::text = %s", [real]
        ).fetchone()
    assert found == (0,)
