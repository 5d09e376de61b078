"""A filled control database of the first form becomes the newest; its rows keep their meaning."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from broker import bootstrap, sweeps, tenants
from broker.bootstrap import Broker
from broker.consents.purposes import LIVE_ACCESS, TEST_COPY
from broker.db import make_engine
from broker.grants import approval_policy, deciding, grounds, leases, queries, requests, statements
from broker.grants.approval_policy import ApprovalPolicy
from broker.grants.consented import ConsentGone
from broker.grants.narrowing import Narrowing
from broker.ids import PersonId, TenantId
from broker.keys.keyring import Keyring
from broker.lifecycle import end_grant_by_click
from broker.settings import Control, Keys, Settings, Vendor
from broker.snapshots import ordering
from broker.tenancy import DATABASE
from broker.tx import Actor, system
from tests.grants.plans import PLAN
from tests.world import OWNER_ROLE, ControlTemplate, connect, consent

pytestmark = pytest.mark.long

_FILLED = (Path(__file__).parent / "first_form.sql").read_text()
_COUNTED = (
    "SELECT relname, (xpath('/row/c/text()', query_to_xml('SELECT count(*) AS c FROM ' || relname,"
    " false, true, '')))[1]::text::int FROM pg_class WHERE relkind = 'r'"
    " AND relnamespace = 'public'::regnamespace AND relname !~ '^(procrastinate|alembic|role_)'"
)
_STATEFUL = ("access_grant", "lease", "snapshot")
ADMIN = Actor("tenant", "password", PersonId("psn_admin"))
TENANT = TenantId("tnt_1")


def upgrade(settings: Settings, revision: str) -> None:
    assert settings.control.owner_dsn is not None
    engine = make_engine(settings.control.owner_dsn)
    config = Config()
    config.set_main_option("script_location", str(bootstrap._MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def fill(settings: Settings) -> dict[str, int]:
    """Past the triggers that ask for an entry in the same transaction; how many rows each has."""
    assert settings.control.owner_dsn is not None
    with psycopg.connect(settings.control.owner_dsn.reveal(), autocommit=True) as connection:
        for table in _STATEFUL:
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        connection.execute(_filled())
        for table in _STATEFUL:
            connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        return dict(connection.execute(_COUNTED).fetchall())


def _filled() -> str:
    document = json.dumps(PLAN.document()).replace("'", "''")
    return _FILLED.replace("{plan}", document).replace("{digest}", PLAN.digest())


@pytest.fixture
def migrated(control_template: ControlTemplate, tmp_path: Path) -> Iterator[tuple[Broker, dict]]:
    """A database that was filled in the first form, brought to the newest; and its counts then."""
    name = f"control_{secrets.token_hex(6)}"
    with connect(control_template.server) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER {OWNER_ROLE}")
    Keyring.create_folder(tmp_path / "keyring")
    settings = Settings(
        vendor=Vendor(host="broker.test"),
        control=Control(
            dsn=control_template.dsn("broker_app", name),
            owner_dsn=control_template.dsn(OWNER_ROLE, name),
        ),
        keys=Keys(keyring=tmp_path / "keyring"),
    )
    upgrade(settings, "0001")
    counts = fill(settings)
    bootstrap.migrate(settings)
    broker = bootstrap.build(settings)
    yield broker, counts
    broker.close()
    with connect(control_template.server) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_rows_of_the_first_form_keep_their_meaning_in_the_newest(
    migrated: tuple[Broker, dict[str, int]], tmp_path: Path
) -> None:
    broker, before = migrated
    keys = Keyring(tmp_path / "keyring")
    with broker.database.begin(system("tests")) as tx:
        after = {row[0]: row[1] for row in tx.session.execute(sa.text(_COUNTED))}
        added = {"audit_log", "audit_entry"}  # the vendor's own, where it had none
        assert {name: after[name] for name in before} | dict.fromkeys(added) == before | (
            dict.fromkeys(added)
        )
        entries = tx.session.scalar(
            sa.text("SELECT count(*) FROM audit_entry WHERE log_id = 'log_1'")
        )
        assert entries == before["audit_entry"]
        states = {
            table: set(tx.session.scalars(sa.text(f"SELECT state FROM {table}")))
            for table in _STATEFUL
        }
        open_, past = requests.get_grant(tx, "grt_open"), requests.get_grant(tx, "grt_past")
        assert (open_.state, open_.approvals_needed, open_.break_glass) == ("approved", 1, False)
        assert (open_.asked_kind, open_.given_live_s, open_.paused_at) == ("masked", 3600, None)
        assert (past.state, past.end_reason) == ("ended", "the ticket has ended")
        database = tenants.get_database(tx, "dbs_1")
        assert (database.whose.form, database.standbys) == (DATABASE, [])
        assert approval_policy.find_in_force(tx, TENANT) == (0, ApprovalPolicy())
        assert leases.get_lease(tx, "lse_revoked").role_gone_at is not None
        destroyed = ordering.get_snapshot(tx, "snp_destroyed")
        assert destroyed.erasing_at == destroyed.destroyed_at  # no hold begins on it any more
    assert states == {
        "access_grant": {"requested", "approved", "refused", "ended"},
        "lease": {"pending", "issued", "revoking", "revoked"},
        "snapshot": {"ordered", "copying", "ready", "condemned", "destroyed"},
    }

    # Nobody had been asked for a consent: it comes first, as the upgrade's notes say. Then what was
    # decided opens, once it is signed; what waited is decided; what is over ends.
    with broker.database.begin(system("tests")) as tx, pytest.raises(ConsentGone):
        grounds.prove(tx, keys, requests.get_grant(tx, "grt_open"), "live")
    with broker.database.begin(ADMIN) as tx:
        for purpose in (LIVE_ACCESS, TEST_COPY):
            consent(tx, TENANT, purpose)
    with broker.database.begin(system("tests")) as tx:
        grounds.prove(tx, keys, requests.get_grant(tx, "grt_open"), "live")
    statements.sign_due(broker.database, keys)
    with broker.database.begin(ADMIN) as tx:
        view = queries.get_grant_view(tx, "grt_open")
        assert (view.state, view.given_kind or view.asked_kind) == ("approved", "masked")
        deciding.approve(tx, "grt_asked", PLAN.digest(), Narrowing())
    assert sweeps.sweep_ends(broker.database, broker.queue, 0) >= 1
    with broker.database.begin(ADMIN) as tx:
        end_grant_by_click(tx, "grt_open", broker.queue)
    with broker.database.begin(system("tests")) as tx:
        ends = {row: requests.get_grant(tx, row).state for row in ("grt_over", "grt_open")}
        assert leases.get_lease(tx, "lse_issued").state == "revoking"
        assert ordering.get_snapshot(tx, "snp_ready").state == "condemned"
    assert ends == {"grt_over": "ended", "grt_open": "ended"}
