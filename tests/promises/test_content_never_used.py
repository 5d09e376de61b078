"""What stands in a customer's database is used for nothing: it is in approved copies alone."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from broker.audit.integrate import integrate_all
from broker.consents import nightly
from broker.demo.canaries import KEPT_IN_COLUMN, needles
from broker.demo.scan import must_find, scan
from broker.grants.statements import sign_due
from broker.retention import improving, running
from broker.rights import exporting
from broker.tx import system
from tests.api.test_who_sees_what import made_up, operations
from tests.promises.backing_up import declare
from tests.promises.conftest import Product
from tests.stories import control_superuser, exported
from tests.world import add_person, connect

pytestmark = pytest.mark.long


def use_all_of_it(product: Product) -> dict[str, str]:
    """A live login that reads, a copy that is made, a backup; returns ids of what there is."""
    world = product.world
    grant_id = product.approved()
    lease_id, password = world.lease(grant_id)
    copy = product.api.post(world.engineer, "/snapshots", {"grant": grant_id}).json["id"]
    world.work()
    assert world.snapshot(copy).state == "ready"
    with world.login(lease_id, password) as session:
        assert session.execute("SELECT * FROM orders").fetchall()
    backups = declare(product)
    backups.agree()
    run = backups.begun()
    assert backups.report_dump(run["id"], backups.dump(run)).status_code == 200
    world.work()
    ids = {"grant_id": grant_id, "lease_id": lease_id, "snapshot_id": copy, "run_id": run["id"]}
    return ids | {"backup_id": backups.id, "database_id": world.database_id}


def do_what_is_done_by_itself(product: Product) -> None:
    """The nightly and monthly work, which is where data would be looked at for other ends."""
    world = product.world
    sign_due(world.broker.database, world.ports.keys)
    integrate_all(world.broker.database, world.ports.keys)
    nightly.check_all(world.broker.database)
    running.run(world.broker.database)
    with world.as_(system("tests")) as tx:
        improving.improve(tx)


def read_all(product: Product, ids: dict[str, str]) -> bytes:
    """Every answer of the API to everybody, the log's bundle, and an export of a person."""
    world = product.world
    with world.as_(system("tests")) as tx:
        officer = add_person(tx, "privacy_officer", None)
    asked = {**made_up(), **ids, "tenant_id": world.tenant}
    asked["person_id"] = world.engineer.person_id or ""
    answers = [
        operation.send(product.api, actor, asked).data
        for operation in operations()
        if operation.method == "GET"
        for actor in (world.admin, world.engineer, world.operator, officer)
    ]
    with world.as_(officer) as tx:
        export = exporting.read_document(tx, world.engineer.person_id or "")
    return b"\n".join([*answers, exported(world), repr(export).encode()])


def dump_control(product: Product) -> str:
    with control_superuser(product.world) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        return repr(
            [connection.execute(f"SELECT t::text FROM {t} t").fetchall() for (t,) in tables]
        )


def test_no_content_of_a_database_is_anywhere_but_in_approved_copies(
    product: Product,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    world = product.world
    caplog.set_level(logging.DEBUG)
    ids = use_all_of_it(product)
    do_what_is_done_by_itself(product)
    answers, control, logs = (tmp_path / name for name in ("answers", "control", "logs"))
    answers.write_bytes(read_all(product, ids))
    control.write_text(dump_control(product))  # mails, jobs and entries are in it
    logs.write_text("\n".join([caplog.text, *capfd.readouterr()]))
    for server, database in ((world.live, world.crm), (world.test, "postgres")):
        with connect(server, database) as connection:
            connection.execute("CHECKPOINT")

    content = needles({**world.marks.canaries, KEPT_IN_COLUMN: world.marks.kept[KEPT_IN_COLUMN]})
    elsewhere = {
        "answers": answers,
        "control database": control,
        "logs": logs,
        "keyring": world.broker.settings.keys.keyring or Path(),
        "store": world.broker.settings.store.folder or Path(),
    }
    copies = {"tenant's server": world.live.data, "copy": world.test.data}
    report = scan({**copies, **elsewhere}, content)
    must_find(report, "tenant's server", list(content))
    must_find(report, "copy", [KEPT_IN_COLUMN])  # the search sees: it is in the approved copy
    assert [hit for hit in report.hits if hit.root in elsewhere] == []
