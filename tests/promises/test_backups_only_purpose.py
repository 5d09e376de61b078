"""Standing access is for regular backups alone: consented to, seen, and refused for all else."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from broker import janitor, lateness
from broker.backups import steps
from broker.sweeps import sweep_ends, sweep_retries
from broker.tx import system
from tests.promises.backing_up import Backups, declare, in_two_hours, restored
from tests.promises.conftest import Product

pytestmark = pytest.mark.long


def move_clock(product: Product, by: timedelta) -> None:
    product.world.broker.database._clock = lambda: datetime.now(UTC) + by


def sweep(product: Product) -> None:
    """As the scheduler does: what is over ends, what is due is done."""
    sweep_ends(product.world.broker.database, product.world.broker.queue, 0)
    sweep_retries(product.world.broker.database, product.world.broker.queue, 0)
    product.world.work()


def test_a_backup_is_made_only_as_the_customer_consented_and_is_seen(
    product: Product, tmp_path: Path
) -> None:
    world, backups = product.world, declare(product)
    refused = backups.begin()
    assert (refused.status_code, refused.json["purposes"]) == (403, ["regular_backups"])
    assert backups.shown()["backup"]["place"] == "s3://backups/invented"
    backups.agree()
    run = backups.begun()
    dump = backups.dump(run)
    assert backups.report_dump(run["id"], dump).status_code == 200
    (companies,) = world.find_on_server(
        world.live, "SELECT count(*) FROM crm.companies", dbname=world.crm
    )[0]
    assert restored(dump, product, tmp_path) == companies > 0

    world.work()  # its login ends with its report
    with pytest.raises(psycopg.OperationalError):
        backups.log_in(run)
    (seen,) = product.api.get(world.admin, f"{backups.path}/runs").json["items"]
    assert (seen["state"], seen["report"]) == ("revoked", "kept")
    assert seen["digest"] == hashlib.sha256(dump).hexdigest()
    dies = datetime.fromisoformat(seen["expires_at"]) - datetime.fromisoformat(seen["reported_at"])
    assert dies == timedelta(days=30)
    assert "role_gone_at" in next(
        one["facts"] for one in world.entries() if one["kind"] == "backup_run.revoked"
    )
    why = product.api.get(world.admin, f"/tenants/{world.tenant}/why?about={run['id']}").json
    assert [one["ground"] for one in why["items"]][:2] == ["consent", "consent"]
    assert product.api.post(backups.program, f"/backup-runs/{run['id']}/gone").status_code == 200
    (seen,) = product.api.get(world.admin, f"{backups.path}/runs").json["items"]
    assert seen["report"] == "gone"


def test_its_login_does_nothing_but_read_for_the_backup(product: Product) -> None:
    world, backups = product.world, declare(product)
    backups.agree()
    run = backups.begun()
    with backups.log_in(run, "pg_dump") as session:
        for refused in (
            "DELETE FROM crm.companies",
            "CREATE TABLE crm.mine (a int)",
            "SELECT rolpassword FROM pg_authid",
            "COPY crm.companies TO PROGRAM 'cat'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(refused)
    janitor.look_everywhere(world.ports)  # the sweep for unexplained access knows it
    with backups.log_in(run, "pg_dump"):
        pass
    for person in (world.engineer, world.operator):
        assert backups.begin(person).status_code == 403
    assert backups.begin().status_code == 409  # one at a time

    with backups.log_in(run, "psql") as misuse:
        misuse.execute("SELECT count(*) FROM crm.companies")
        steps.watch(world.broker.database, world.ports.keys, run["id"], world.broker.queue)
        world.work()
        with pytest.raises(psycopg.OperationalError):
            misuse.execute("SELECT 1")
    assert backups.run(run["id"])["unusual"] == ["program"]
    assert backups.unusual() == [["program"]]
    assert any(backups.id in subject for subject, _ in product.mails(world.admin))


def test_another_host_another_hour_and_another_volume_alarm(product: Product) -> None:
    world = product.world
    abroad = declare(product, host="192.0.2.7")
    abroad.agree()
    run = abroad.begun()
    with abroad.log_in(run, "pg_dump") as session:
        steps.watch(world.broker.database, world.ports.keys, run["id"], world.broker.queue)
        world.work()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert abroad.unusual() == [["host"]]

    opens, closes = in_two_hours()
    later = declare(product, opens=opens, closes=closes)
    later.agree()
    refused = later.begin()
    assert (refused.status_code, later.unusual()) == (409, [["hour"]])
    assert f"{opens}-{closes}" in refused.json["detail"]
    move_clock(product, timedelta(hours=2))
    assert later.begin().status_code == 202

    sizes = declare(product)
    sizes.agree()
    for size in (100, 110, 90, 10):
        run = sizes.begun()
        assert sizes.report_dump(run["id"], b"x" * size).status_code == 200
        world.work()
    assert sizes.unusual() == [["volume"]]


def late(product: Product, identity: str) -> list[str]:
    with product.world.as_(system("tests")) as tx:
        return [one.reason for one in lateness.list_late(tx, 0) if one.id == identity]


def test_a_backup_that_is_missed_unreported_or_outlives_its_term_alarms(product: Product) -> None:
    backups = declare(product)
    backups.agree()
    run = backups.begun()
    assert late(product, backups.id) == []
    move_clock(product, timedelta(hours=2))
    sweep(product)  # the run's longest time is over
    assert backups.run(run["id"])["state"] == "revoked"
    (reason,) = late(product, run["id"])
    assert "nobody reported" in reason
    assert backups.report_dump(run["id"], b"late, but said").status_code == 200
    assert late(product, run["id"]) == []
    move_clock(product, timedelta(hours=29))
    assert any("no good backup" in one for one in late(product, backups.id))
    move_clock(product, timedelta(days=33))
    (reason,) = late(product, run["id"])
    assert "its term is over" in reason


def test_withdrawing_the_consent_ends_the_login_and_leaves_what_was_reported(
    product: Product,
) -> None:
    world, backups = product.world, declare(product)
    backups.agree()
    first = backups.begun()
    assert backups.report_dump(first["id"], b"the first").status_code == 200
    world.work()
    run = backups.begun()
    session = backups.log_in(run, "pg_dump")
    assert backups.withdraw().status_code == 200
    world.work()
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    assert backups.run(run["id"])["state"] == "revoked"
    assert backups.begin().status_code == 403
    reports = {one["id"]: one["report"] for one in _list_runs(backups)}
    assert reports == {first["id"]: "kept", run["id"]: "none"}


def _list_runs(backups: Backups) -> list[dict[str, str]]:
    product = backups.product
    found = product.api.get(product.world.admin, f"{backups.path}/runs").json["items"]
    return [dict(one) for one in found]


def test_a_restore_needs_the_customers_own_yes_each_time(product: Product) -> None:
    world, backups = product.world, declare(product)
    backups.agree()
    run = backups.begun()
    assert backups.report_dump(run["id"], b"a dump").status_code == 200
    wanted = {
        "ticket": world.ticket(),
        "reason": "the customer deleted three orders by mistake",
        "target": "their own live server, beside the live database",
        "hours": 4,
    }
    path = f"/backup-runs/{run['id']}/restores"
    asked = product.api.post(world.engineer, path, wanted)
    assert asked.status_code == 201, asked.text
    restore = f"/restores/{asked.json['id']}"
    early = product.api.post(world.engineer, f"{restore}/use")
    assert (early.status_code, "waits for the customer" in early.json["detail"]) == (409, True)
    for person in (world.engineer, world.operator):
        assert product.api.post(person, f"{restore}/allow").status_code == 403
    assert product.api.post(world.admin, f"{restore}/allow").status_code == 200
    assert product.api.post(world.operator, f"{restore}/use").status_code == 403
    used = product.api.post(world.engineer, f"{restore}/use")
    assert used.json["digest"] == hashlib.sha256(b"a dump").hexdigest()
    assert product.api.post(world.engineer, f"{restore}/use").status_code == 409  # once

    second = product.api.post(world.engineer, path, wanted).json["id"]
    assert product.api.post(world.admin, f"/restores/{second}/allow").status_code == 200
    move_clock(product, timedelta(hours=5))
    assert product.api.post(world.engineer, f"/restores/{second}/use").status_code == 409
    sweep(product)
    listed = product.api.get(world.admin, f"/tenants/{world.tenant}/restores").json["items"]
    assert [one["state"] for one in listed[:2]] == ["ended", "used"]
