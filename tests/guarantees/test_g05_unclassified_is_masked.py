"""G5. What nobody classified is masked. A column added yesterday is masked today."""

from __future__ import annotations

import psycopg
import pytest

from broker.grants.narrowing import Narrowing
from tests.world import World, connect

SECRET = "NICKNAME-of-somebody"


def test_what_was_added_after_approval_is_masked_in_the_copy_and_absent_from_the_views(
    world: World,
) -> None:
    grant_id = world.approved(Narrowing())
    with connect(world.live, world.crm) as connection:
        connection.execute(f"""
            SET ROLE crm_app;
            ALTER TABLE crm.contacts ADD COLUMN nickname text NOT NULL DEFAULT '{SECRET}';
            ALTER TABLE crm.contacts ADD COLUMN status text DEFAULT '{SECRET}';
            CREATE TABLE crm.added AS SELECT '{SECRET}'::text AS word;
            RESET ROLE;
        """)
    lease_id, password = world.lease(grant_id)
    snapshot_id = world.order(grant_id)
    world.work()
    snapshot = world.snapshot(snapshot_id)
    assert snapshot.state == "ready", snapshot.stuck_reason
    with connect(world.test, snapshot.sandbox) as connection:
        assert connection.execute("SELECT count(*) FROM crm.added").fetchone() == (0,)
        values = connection.execute("SELECT nickname, status FROM crm.contacts").fetchall()
    assert len(values) > 1
    assert not [row for row in values if SECRET in row]
    drift = " ".join((snapshot.report or {})["drift"])
    assert "crm.added is new" in drift
    assert "nickname" in drift
    with world.login(lease_id, password) as session:
        for question in ("SELECT nickname FROM contacts", "SELECT status FROM contacts"):
            with pytest.raises(psycopg.errors.UndefinedColumn):
                session.execute(question)
        with pytest.raises(psycopg.errors.UndefinedTable):
            session.execute("SELECT * FROM added")


def test_a_column_that_no_rule_names_is_masked_in_the_plan(world: World) -> None:
    with connect(world.live, world.crm) as connection:
        connection.execute(
            "ALTER TABLE crm.contacts"
            " ADD COLUMN zzz text, ADD COLUMN yyy inet, ADD COLUMN xxx money"
        )
    grant_id = world.request()
    world.work()
    from broker.grants.queries import get_plan_view

    with world.as_(world.admin) as tx:
        table = get_plan_view(tx, grant_id).plan.find_table("crm.contacts")
    assert table is not None
    fates = table.fates()
    assert [fates[name].mask for name in ("zzz", "yyy", "xxx")] == ["filler", "null", "null"]
