"""The retention schedule: whole, tried first, carried out once confirmed, and no further."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker import mail
from broker.errors import Conflict, Denied, SettingsError
from broker.ids import PersonId, new_id
from broker.letters import Letter, own, phrase
from broker.retention import improving, running, schedule
from broker.retention.records import RECORDS
from broker.tx import system
from tests.verify.vendor import Vendor

FILE = Path(__file__).parents[2] / "config" / "retention.toml"
LIBRARIES = ("procrastinate_", "alembic_version")


def later(vendor: Vendor, days: int) -> None:
    vendor.database._clock = lambda: datetime.now(UTC) + timedelta(days=days)


def confirm(vendor: Vendor) -> str:
    with vendor.as_(vendor.officer) as tx:
        found = running.read(tx)
        assert found is not None
        assert found.confirmed_at is None
        schedule.confirm(tx, found.digest)
    return found.digest


def send_a_mail(vendor: Vendor) -> None:
    with vendor.as_(vendor.operator) as tx:
        officer = PersonId(vendor.officer.person_id or "")
        mail.write(tx, officer, None, Letter(phrase("Old"), [own("long ago")]))
    with vendor.superuser() as connection:
        connection.execute("UPDATE mail SET sent_at = now(), next_try_at = NULL")


def test_every_table_of_the_schema_has_its_place(vendor: Vendor) -> None:
    listed = [table for term in schedule.read_schedule(FILE) for table in term.tables]
    assert len(listed) == len(set(listed))
    with vendor.superuser() as connection:
        rows = connection.execute(
            "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') "
            "AND relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert set(listed) == {name for (name,) in rows if not name.startswith(LIBRARIES)}


def test_each_record_is_found_by_a_statement_that_runs(vendor: Vendor) -> None:
    terms = {term.name: term for term in schedule.read_schedule(FILE)}
    assert set(RECORDS) == {
        name for name, term in terms.items() if term.fate in {"erase", "anonymise"}
    }
    for name, record in RECORDS.items():
        assert terms[name].tables == (record.table,)
    with vendor.as_(vendor.officer) as tx:
        found = running.read(tx)
    assert found is not None
    assert {term.name for term in found.terms if term.past is not None} == set(RECORDS)


def test_nothing_is_taken_before_somebody_saw_it_and_confirmed(vendor: Vendor) -> None:
    send_a_mail(vendor)
    with vendor.superuser() as connection:
        (before,) = connection.execute("SELECT count(*) FROM mail").fetchone() or (0,)
    later(vendor, 100)
    assert running.run(vendor.database)["mails"] == before
    with vendor.as_(vendor.officer) as tx:
        (tried,) = running.list_runs(tx)
        assert tried.tried
    with vendor.as_(vendor.operator) as tx, pytest.raises(Denied):
        schedule.confirm(tx, tried.digest)
    digest = confirm(vendor)
    with vendor.as_(vendor.officer) as tx, pytest.raises(Conflict):
        schedule.confirm(tx, digest)
    assert running.run(vendor.database)["mails"] == before
    assert running.run(vendor.database)["mails"] == 0
    with vendor.superuser() as connection:
        assert connection.execute("SELECT count(*) FROM mail").fetchone() == (0,)


def test_a_term_that_is_not_over_takes_nothing(vendor: Vendor) -> None:
    confirm(vendor)
    send_a_mail(vendor)
    later(vendor, 89)
    assert running.run(vendor.database)["mails"] == 0
    later(vendor, 91)
    assert running.run(vendor.database)["mails"] > 0


def test_a_ticket_loses_its_title_once_nothing_needs_it(vendor: Vendor) -> None:
    confirm(vendor)
    tenant, _ = vendor.enrol()
    ticket = new_id("tkt")
    with vendor.superuser() as connection:
        connection.execute(
            "INSERT INTO ticket (id, tenant_id, system, external_id, title, url, open, seen_at, "
            "ended_at) VALUES (%s, %s, 's', %s, 'Mr Invented can not print', 'https://t.test/1', "
            "false, now(), now())",
            [ticket, tenant, ticket],
        )
    later(vendor, 366)
    assert running.run(vendor.database)["ticket_titles"] == 1
    assert running.run(vendor.database)["ticket_titles"] == 0
    with vendor.superuser() as connection:
        row = connection.execute("SELECT title, url FROM ticket WHERE id = %s", [ticket]).fetchone()
    assert row == ("", None)


def test_another_schedule_must_be_confirmed_anew(vendor: Vendor, tmp_path: Path) -> None:
    old = confirm(vendor)
    file = tmp_path / "retention.toml"
    file.write_text(FILE.read_text().replace("days = 90", "days = 60"))
    with vendor.as_(system("tests")) as tx:
        schedule.load_schedule(tx, file)
    with vendor.as_(vendor.officer) as tx:
        found = running.read(tx)
        assert found is not None
        assert (found.digest != old, found.confirmed_at) == (True, None)
        with pytest.raises(Conflict):
            schedule.confirm(tx, old)
    with vendor.as_(system("tests")) as tx, pytest.raises(SettingsError):
        schedule.load_schedule(tx, FILE)  # back to a text that stood: said, not done silently


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ('fate = "erase"', 'fate = "shred"'),
        ("days = 90", "days = 0"),
        ("[mails]", "[letters]"),
        ("[mails]\n", "[mails]\nwhy = 1\n"),
    ],
)
def test_a_schedule_that_can_not_be_meant_is_refused(tmp_path: Path, was: str, now: str) -> None:
    file = tmp_path / "retention.toml"
    file.write_text(FILE.read_text().replace(was, now, 1))
    with pytest.raises(SettingsError):
        schedule.read_schedule(file)


def add_ended(vendor: Vendor, many: int, month: datetime) -> None:
    """Ended grants of as many tenants, as the database holds them."""
    with vendor.superuser() as connection:
        connection.execute("SET session_replication_role = replica")  # no servers, no entries
        for number in range(many):
            grant, ticket, tenant = new_id("grt"), new_id("tkt"), new_id("tnt")
            connection.execute(
                "INSERT INTO ticket (id, tenant_id, system, external_id, title, category, severity,"
                " open, seen_at) VALUES (%s, %s, 's', %s, 'a title', 'export', '2', false, now())",
                [ticket, tenant, ticket],
            )
            connection.execute(
                "INSERT INTO access_grant (id, tenant_id, state, state_at, database_id, ticket_id, "
                "requester_id, category, reason, requested_at, lapses_at, asked_live_s, "
                "asked_copy_s, attempts) VALUES (%s, %s, 'ended', %s, 'd', %s, 'p', 'incident', "
                "'a reason', %s, %s, 60, 0, 0)",
                [grant, tenant, month, ticket, month - timedelta(hours=number), month],
            )


def test_a_month_is_counted_once_it_is_over_and_holds_no_identifier(vendor: Vendor) -> None:
    month = datetime(2026, 3, 12, tzinfo=UTC)
    add_ended(vendor, 6, month)
    add_ended(vendor, 4, month + timedelta(days=40))
    with vendor.as_(system("tests")) as tx:
        assert improving.improve(tx) == 1
        assert improving.improve(tx) == 0
    with vendor.as_(vendor.officer) as tx:
        (row,) = improving.list_rows(tx)
        reports = {
            f"{one.month:%Y-%m}": (one.records, one.left_out) for one in improving.list_reports(tx)
        }
        said = (f"{row.month:%Y-%m}", row.about, row.severity, row.kind, row.records)
    assert said == ("2026-03", "export", "2", "incident", 6)
    assert reports == {"2026-03": (6, 0), "2026-04": (4, 4)}
