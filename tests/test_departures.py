"""A customer leaves: everything ends, is exported and kept, and in the end nothing is left."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from broker import tenants
from broker.audit.note import VerifierKey
from broker.audit.statements import DEPARTURE, open_statement
from broker.audit.verify import verify_bundle
from broker.consents import ledger
from broker.consents.purposes import LIVE_ACCESS
from broker.departures import announcing, closing, erasing, exporting, following
from broker.errors import Conflict, Denied, Invalid, NotFound
from broker.retention import schedule
from broker.states import StateConflict
from broker.tx import system
from tests.stories import control_superuser, exported, pinned, sweep
from tests.world import REASON, World, add_person, consent

CONFIG = Path(__file__).parents[1] / "config" / "retention.toml"
TERM = timedelta(days=1826)


def follow(world: World) -> int:
    return following.follow(world.broker.database, world.broker.queue, world.ports.keys)


def state(world: World) -> str:
    with world.as_(world.admin) as tx:
        return announcing.read(tx, world.tenant).state


def pass_time(world: World, column: str, span: timedelta) -> None:
    """The database's own clock is asked, so the row goes back instead."""
    with control_superuser(world) as connection:
        connection.execute("ALTER TABLE departure DISABLE TRIGGER departure_goes_on")
        connection.execute(f"UPDATE departure SET {column} = {column} - %s", [span])
        connection.execute("ALTER TABLE departure ENABLE TRIGGER departure_goes_on")


def confirm_schedule(world: World) -> None:
    with world.as_(system("tests")) as tx:
        officer = add_person(tx, "privacy_officer", None)
        schedule.load_schedule(tx, CONFIG)
    with world.as_(officer) as tx:
        standing = schedule.find_standing(tx)
        assert standing is not None
        schedule.confirm(tx, standing.digest)


def texts_of(world: World) -> set[str]:
    """Where any of what names this customer stands, by an independent look at every table."""
    with control_superuser(world) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns c "
            "JOIN pg_class r ON r.relname = c.table_name AND r.relkind = 'r' "
            "WHERE table_schema = 'public' AND data_type IN ('text', 'jsonb', 'ARRAY')"
        ).fetchall()
        found = set()
        for table, column in columns:
            asked = f'SELECT count(*) FROM {table} WHERE "{column}"::text ILIKE ANY (%s)'
            if connection.execute(asked, [[f"%{one}%" for one in NAMING]]).fetchone() != (0,):
                found.add(f"{table}.{column}")
    return found


NAMING = ["First tenant", REASON, "Ada Admin", "crm_", "@tenant.test", "cust-"]


def test_everything_ends_is_exported_kept_erased_and_certified(world: World) -> None:
    confirm_schedule(world)
    grant = world.approved()
    lease, _ = world.lease(grant)
    copy = world.order(grant)
    world.work()
    with world.as_(world.admin) as tx:
        assert announcing.announce(tx, world.tenant, None).state == "announced"
    with world.as_(world.admin) as tx, pytest.raises(Conflict):
        announcing.announce(tx, world.tenant, None)
    assert follow(world) == 1
    with world.as_(world.admin) as tx, pytest.raises(closing.removing.StillAlive, match=copy):
        closing.close_by_click(tx, world.tenant)
    assert follow(world) == 0
    assert state(world) == "closing"
    _nothing_begins(world)

    world.work()
    sweep(world)
    world.work()
    with world.as_(world.admin) as tx:
        assert announcing.read(tx, world.tenant).alive == [copy], "looks at it are owed"
    with control_superuser(world) as connection:
        connection.execute("UPDATE later_look SET passed_at = now()")
    assert follow(world) == 1
    assert (state(world), world.find_lease(lease).state) == ("closed", "revoked")
    assert world.snapshot(copy).state == "destroyed"
    with world.as_(world.operator) as tx:
        assert tenants.list_databases(tx, world.tenant) == []

    assert follow(world) == 0, "its term runs"
    _never_before_its_term(world)
    pass_time(world, "closed_at", TERM)
    assert follow(world) == 1
    left = texts_of(world)
    assert {one.partition(".")[0] for one in left} <= {"person", "membership", "mail"}, left
    keys = pinned(world, world.tenant)
    _check_statement(world, keys)
    assert follow(world) == 0, "who is told stays until the mail is out"
    with world.as_(system("tests")) as tx:
        tx.session.execute(sa.text("UPDATE mail SET sent_at = now()"))
    assert follow(world) == 1
    assert texts_of(world) == set()
    with world.as_(system("tests")) as tx:
        asked = "SELECT state FROM departure WHERE tenant_id = :t"
        assert tx.session.scalar(sa.text(asked), {"t": world.tenant}) == "erased"
    report = verify_bundle(exported(world, world.tenant), keys)
    assert report.ok, report


def _nothing_begins(world: World) -> None:
    with pytest.raises(Conflict, match="left"):
        world.request()
    with world.as_(world.admin) as tx, pytest.raises(Conflict, match="left"):
        consent(tx, world.tenant, LIVE_ACCESS)
    with world.as_(world.admin) as tx:
        assert ledger.list_missing(tx, world.tenant, [LIVE_ACCESS]) == [LIVE_ACCESS]
    with control_superuser(world) as connection, pytest.raises(psycopg.Error, match="left at"):
        connection.execute(
            "INSERT INTO access_grant SELECT (jsonb_populate_record(g, "
            """'{"id": "grt_late"}')).* FROM access_grant g LIMIT 1"""
        )


def _never_before_its_term(world: World) -> None:
    with world.as_(system("tests")) as tx, pytest.raises(sa.exc.DBAPIError, match="whole term"):
        tx.session.execute(
            sa.text("SELECT erase_departed(id, 1) FROM departure WHERE tenant_id = :t"),
            {"t": world.tenant},
        )


def _check_statement(world: World, keys: list[VerifierKey]) -> None:
    with world.as_(system("tests")) as tx:
        row = tx.session.execute(sa.text("SELECT id, envelope, counts FROM departure")).one()
        mails = tx.session.scalars(
            sa.text("SELECT text FROM mail WHERE attachment = :id"), {"id": row.id}
        ).all()
        assert erasing.read_envelope(tx, row.id) == row.envelope
    said = open_statement(bytes(row.envelope), DEPARTURE, *keys)
    assert (said["tenant"], said["erased"]) == (world.tenant, row.counts)
    assert len(mails) == 1


def test_an_admin_takes_home_all_that_is_held_and_nothing_secret(world: World) -> None:
    grant = world.approved()
    lease, _ = world.lease(grant)
    world.work()
    with world.as_(world.operator) as tx, pytest.raises(Denied):
        exporting.export(tx, world.tenant)
    with world.as_(world.admin) as tx:
        made = zipfile.ZipFile(io.BytesIO(exporting.export(tx, world.tenant)))
    tables = json.loads(made.read("export.json"))["tables"]
    assert [row["id"] for row in tables["lease"]] == [lease]
    assert tables["access_grant"][0]["reason"] == REASON
    assert tables["plan"]
    assert tables["tenant_database"][0]["id"] == world.database_id
    assert {"sealed_password", "verifier"}.isdisjoint(
        {*tables["tenant_database"][0], *tables["lease"][0]}
    )
    assert "tenant.exported" in {entry["kind"] for entry in world.entries(world.tenant)}


def test_every_table_of_a_customers_is_exported_or_left_out_for_a_reason(world: World) -> None:
    """By the foreign keys of the schema: a table that is added and forgotten fails here."""
    with control_superuser(world) as connection:
        keys = connection.execute(
            "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint "
            "WHERE contype = 'f' AND connamespace = 'public'::regnamespace"
        ).fetchall()
    reached, before = {"tenant"}, set()
    while reached != before:
        before = set(reached)
        reached |= {table for table, to in keys if to in reached}
    assert reached == {*exporting.PARTS, *exporting.LEFT_OUT}


def test_the_vendor_gives_notice_and_each_side_takes_back_its_own(world: World) -> None:
    with world.as_(world.operator) as tx, pytest.raises(Invalid, match="day must lie"):
        announcing.announce(tx, world.tenant, tx.at + timedelta(days=29))
    with world.as_(world.operator) as tx:
        announcing.announce(tx, world.tenant, tx.at + timedelta(days=31))
    with world.as_(world.admin) as tx, pytest.raises(Denied, match="vendor"):
        announcing.cancel(tx, world.tenant)
    assert follow(world) == 0
    with world.as_(world.operator) as tx:
        announcing.cancel(tx, world.tenant)
    with world.as_(world.admin) as tx, pytest.raises(NotFound):
        announcing.read(tx, world.tenant)
    with world.as_(world.admin) as tx:
        announcing.announce(tx, world.tenant, None)
    assert follow(world) == 1
    with world.as_(world.admin) as tx, pytest.raises(StateConflict, match="closing"):
        announcing.cancel(tx, world.tenant)


def test_nothing_is_erased_while_nobody_confirmed_the_term(world: World) -> None:
    with world.as_(world.admin) as tx:
        announcing.announce(tx, world.tenant, None)
    assert (follow(world), follow(world)) == (1, 1)
    pass_time(world, "closed_at", TERM)
    assert (follow(world), state(world)) == (0, "closed")
    with control_superuser(world) as connection, pytest.raises(psycopg.Error, match="was set by"):
        connection.execute("UPDATE tenant_database SET dbname = 'another'")
