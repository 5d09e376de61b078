"""Each thing that a preflight looks for: made on a real server, found, mended by its own SQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.embedded import TEST_SERVER_SETTINGS, EmbeddedServer, running
from broker.engines.postgres.copying.sandbox import NewSandbox, create_sandbox, drop_sandbox
from broker.engines.postgres.leases import issue
from broker.engines.postgres.scopes import make_scope
from tests.conftest import admin
from tests.engines.preflight_world import (
    HOSTILE,
    Checked,
    check_found_and_mended,
    register_live,
    register_test_server,
    worst,
)
from tests.engines.registered import label_text, masked_scope, new_lease, new_scope_name

LABEL = "sab1 lease lse_aaaaaaaaaaaaaaaaaaaaaaaaaa 2020-01-01T00:00:00Z " + "0" * 64

# (code, severity, what makes it so)
LIVE = [
    ("login-superuser", "fatal", "ALTER ROLE {login} SUPERUSER"),
    ("login-replication", "fatal", "ALTER ROLE {login} REPLICATION"),
    ("login-bypassrls", "warning", "ALTER ROLE {login} BYPASSRLS"),
    ("login-createdb", "warning", "ALTER ROLE {login} CREATEDB"),
    ("login-memberships", "warning", "GRANT pg_read_all_data TO {login}"),
    (
        "login-memberships",
        "warning",
        (
            "CREATE ROLE {role}; GRANT {role} TO {login} WITH ADMIN OPTION; SET ROLE {login};"
            " GRANT {role} TO {login} WITH SET FALSE"
        ),
    ),
    ("missing-createrole", "fatal", "ALTER ROLE {login} NOCREATEROLE"),
    ("missing-signal-backend", "fatal", "REVOKE pg_signal_backend FROM {login}"),
    ("missing-read-all-stats", "fatal", "REVOKE pg_read_all_stats FROM {login}"),
    (
        "missing-connect",
        "fatal",
        "REVOKE GRANT OPTION FOR CONNECT ON DATABASE {db} FROM {login}",
    ),
    ("missing-create", "fatal", "REVOKE CREATE ON DATABASE {db} FROM {login}"),
    ("missing-sab-managed", "fatal", "REVOKE sab_managed FROM {login} CASCADE"),
    ("missing-sab-managed", "fatal", "REVOKE ADMIN OPTION FOR sab_managed FROM {login} CASCADE"),
    ("missing-sab-reader", "fatal", "REVOKE ADMIN OPTION FOR sab_reader FROM {login} CASCADE"),
    ("missing-sab-reader", "fatal", "GRANT sab_reader TO {login} WITH INHERIT FALSE"),
    ("own-role-attributes", "fatal", "ALTER ROLE sab_reader LOGIN"),
    ("own-role-attributes", "fatal", "ALTER ROLE sab_managed BYPASSRLS"),
    ("mark-has-rights", "fatal", "GRANT SELECT ON app.customer TO sab_managed"),
    ("mark-has-rights", "fatal", "CREATE ROLE {role}; GRANT {role} TO sab_managed"),
    ("reader-shared", "warning", "CREATE ROLE {role} IN ROLE sab_reader"),
    ("missing-usage", "fatal", "REVOKE USAGE ON SCHEMA app FROM sab_reader"),
    (
        "missing-select",
        "warning",
        "CREATE TABLE app.{odd} (); REVOKE SELECT ON app.{odd} FROM sab_reader",
    ),
    ("missing-select", "warning", "REVOKE SELECT ON SEQUENCE app.invoice_id_seq FROM sab_reader"),
    (
        "missing-default-select",
        "note",
        "CREATE ROLE {role}; ALTER TABLE app.invoice OWNER TO {role}",
    ),
    ("database-public", "fatal", "GRANT CONNECT ON DATABASE {db} TO PUBLIC"),
    ("database-public", "fatal", "GRANT TEMPORARY ON DATABASE {db} TO PUBLIC"),
    ("database-public", "fatal", "GRANT CREATE ON DATABASE {db} TO PUBLIC"),
    # Our login holds CONNECT with the grant option: only itself can take back what it gave.
    ("database-public", "fatal", "SET ROLE {login}; GRANT CONNECT ON DATABASE {db} TO PUBLIC"),
    (
        "schema-create-public",
        "fatal",
        "CREATE SCHEMA {odd}; GRANT CREATE ON SCHEMA {odd} TO PUBLIC",
    ),
    ("relation-public", "fatal", "GRANT SELECT ON app.customer TO PUBLIC"),
    ("relation-public", "fatal", "GRANT TRIGGER ON app.customer TO PUBLIC"),
    ("relation-public", "fatal", "GRANT UPDATE (email) ON app.customer TO PUBLIC"),
    ("relation-public", "fatal", "GRANT USAGE ON SEQUENCE app.invoice_id_seq TO PUBLIC"),
    (
        "relation-public",
        "fatal",
        "CREATE MATERIALIZED VIEW app.{odd} AS SELECT 1 AS a; GRANT SELECT ON app.{odd} TO PUBLIC",
    ),
    (
        "relation-public",
        "fatal",
        (
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA app TO {role};"
            " GRANT SELECT ON app.customer TO {role} WITH GRANT OPTION;"
            " SET ROLE {role}; GRANT SELECT ON app.customer TO PUBLIC"
        ),
    ),
    ("system-public", "fatal", "GRANT SELECT ON pg_authid TO PUBLIC"),
    ("system-public", "fatal", "GRANT SELECT (rolpassword) ON pg_authid TO PUBLIC"),
    ("system-public", "fatal", "GRANT INSERT ON pg_stat_activity TO PUBLIC"),
    ("system-public", "fatal", "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO PUBLIC"),
    (
        "large-object-public",
        "fatal",
        "SELECT lo_create(424242); GRANT SELECT ON LARGE OBJECT 424242 TO PUBLIC",
    ),
    ("large-objects-open", "fatal", "ALTER DATABASE {db} SET lo_compat_privileges = on"),
    ("parameter-public", "warning", "GRANT SET ON PARAMETER session_preload_libraries TO PUBLIC"),
    (
        "default-privileges-public",
        "warning",
        (
            "CREATE ROLE {role};"
            " ALTER DEFAULT PRIVILEGES FOR ROLE {role} GRANT SELECT ON TABLES TO PUBLIC"
        ),
    ),
    (
        "default-privileges-public",
        "warning",
        (
            "CREATE SCHEMA {odd}; ALTER DEFAULT PRIVILEGES IN SCHEMA {odd}"
            " GRANT EXECUTE ON FUNCTIONS TO PUBLIC"
        ),
    ),
    ("other-databases-public", "warning", "GRANT CONNECT ON DATABASE template1 TO PUBLIC"),
    (
        "definer-function-public",
        "fatal",
        (
            "CREATE FUNCTION public.{odd}(app.customer) RETURNS int SECURITY DEFINER"
            " LANGUAGE sql AS 'SELECT 1'"
        ),
    ),
    (
        "definer-function-public",
        "fatal",
        "CREATE PROCEDURE public.p() SECURITY DEFINER LANGUAGE sql AS 'SELECT 1'",
    ),
    ("extension-reaches-out", "fatal", "CREATE EXTENSION dblink SCHEMA public"),
    ("untrusted-language", "warning", "CREATE LANGUAGE {odd} HANDLER plpgsql_call_handler"),
    (
        "foreign-server-public",
        "fatal",
        (
            "CREATE EXTENSION postgres_fdw SCHEMA app;"
            " GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO PUBLIC"
        ),
    ),
    (
        "foreign-server-public",
        "fatal",
        (
            "CREATE FOREIGN DATA WRAPPER {odd}; CREATE SERVER {odd} FOREIGN DATA WRAPPER {odd};"
            " GRANT USAGE ON FOREIGN SERVER {odd} TO PUBLIC"
        ),
    ),
    (
        "user-mapping-public",
        "fatal",
        (
            "CREATE FOREIGN DATA WRAPPER {odd}; CREATE SERVER {odd} FOREIGN DATA WRAPPER {odd};"
            " CREATE USER MAPPING FOR PUBLIC SERVER {odd}"
        ),
    ),
    (
        "event-trigger",
        "warning",
        (
            "CREATE FUNCTION app.e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
            " CREATE EVENT TRIGGER {odd} ON login EXECUTE FUNCTION app.e()"
        ),
    ),
    ("password-encryption", "warning", "ALTER DATABASE {db} SET password_encryption = 'md5'"),
    ("log-statement", "note", "ALTER DATABASE {db} SET log_statement = 'all'"),
    ("log-statement", "note", "ALTER ROLE {login} SET log_statement = 'ddl'"),
    ("log-statement", "note", "ALTER ROLE {login} IN DATABASE {db} SET log_statement = 'mod'"),
    ("log-error-statement", "note", "ALTER ROLE ALL SET log_min_error_statement = 'error'"),
    (
        "log-duration",
        "note",
        "ALTER SYSTEM SET log_min_duration_statement = '10s'; SELECT pg_reload_conf()",
    ),
    (
        "log-explain",
        "note",
        (
            "ALTER DATABASE {db} SET session_preload_libraries = 'auto_explain';"
            " LOAD 'auto_explain'; ALTER DATABASE {db} SET auto_explain.log_min_duration = 0"
        ),
    ),
    (
        "left-roles",
        "warning",
        (
            "CREATE ROLE {role} LOGIN IN ROLE sab_managed; GRANT SELECT ON app.customer TO {role};"
            f" COMMENT ON ROLE {{role}} IS '{LABEL}'"
        ),
    ),
    ("unexplained-login", "warning", "CREATE ROLE {role} LOGIN SUPERUSER"),
]

# These leave another finding behind, so each has a database of its own.
ALONE = [
    (
        "definer-function-public",
        "fatal",
        (
            "CREATE LANGUAGE unfenced HANDLER plpgsql_call_handler;"
            " CREATE FUNCTION public.f() RETURNS int LANGUAGE unfenced AS 'BEGIN RETURN 1; END'"
        ),
    ),
    (
        "log-parameters",
        "note",
        (
            "ALTER DATABASE {db} SET log_parameter_max_length = -1;"
            " ALTER DATABASE {db} SET log_statement = 'all'"
        ),
    ),
]

TEST = [
    ("login-superuser", "fatal", "ALTER ROLE {login} SUPERUSER"),
    ("login-bypassrls", "warning", "ALTER ROLE {login} BYPASSRLS"),
    ("missing-createrole", "fatal", "ALTER ROLE {login} NOCREATEROLE"),
    ("missing-createdb", "fatal", "ALTER ROLE {login} NOCREATEDB"),
    ("missing-signal-backend", "fatal", "REVOKE pg_signal_backend FROM {login}"),
    ("missing-checkpoint", "warning", "REVOKE pg_checkpoint FROM {login}"),
    ("missing-sab-managed", "fatal", "REVOKE sab_managed FROM {login} CASCADE"),
    ("login-memberships", "warning", "GRANT pg_write_server_files TO {login}"),
    ("server-databases-public", "fatal", "GRANT CONNECT ON DATABASE template1 TO PUBLIC"),
    ("server-databases-public", "fatal", "GRANT CONNECT ON DATABASE postgres TO PUBLIC"),
    ("server-databases-public", "fatal", "CREATE DATABASE {odd}"),
    ("system-public", "fatal", "GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO PUBLIC"),
    ("parameter-public", "warning", "GRANT ALTER SYSTEM ON PARAMETER wal_level TO PUBLIC"),
    ("password-encryption", "warning", "ALTER ROLE ALL SET password_encryption = 'md5'"),
    ("log-statement", "warning", "ALTER ROLE {login} SET log_statement = 'ddl'"),
    ("log-duration", "warning", "ALTER DATABASE {db} SET log_min_duration_statement = 0"),
    ("log-sample", "warning", "ALTER DATABASE {db} SET log_min_duration_sample = 0"),
    ("log-transactions", "warning", "ALTER DATABASE {db} SET log_transaction_sample_rate = 0.1"),
    ("log-error-statement", "warning", "ALTER DATABASE {db} SET log_min_error_statement = 'log'"),
    ("log-error-detail", "warning", "ALTER DATABASE {db} SET log_error_verbosity = 'default'"),
    ("log-parameters", "warning", "ALTER DATABASE {db} SET log_parameter_max_length = 9"),
    (
        "log-error-parameters",
        "warning",
        "ALTER DATABASE {db} SET log_parameter_max_length_on_error = 9",
    ),
    (
        "left-roles",
        "warning",
        f"CREATE ROLE {{role}} IN ROLE sab_managed; COMMENT ON ROLE {{role}} IS '{LABEL}'",
    ),
    (
        "left-sandboxes",
        "warning",
        (
            "CREATE DATABASE sab_x_left; REVOKE CONNECT ON DATABASE sab_x_left FROM PUBLIC;"
            f" COMMENT ON DATABASE sab_x_left IS '{LABEL}'"
        ),
    ),
]


@pytest.fixture(scope="module")
def live_door(servers_folder: Path) -> Iterator[EmbeddedServer]:
    """A tenant's server of ours alone; nobody comes in through PUBLIC."""
    server = EmbeddedServer(servers_folder / "preflight", settings={"fsync": "off"})
    with running(server):
        with admin(server) as connection:
            connection.execute("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
        yield server


@pytest.fixture(scope="module")
def live(live_door: EmbeddedServer) -> Checked:
    """Each test leaves it without anything to mend, and makes objects of new names."""
    return register_live(live_door)


@pytest.fixture
def fresh(live_door: EmbeddedServer) -> Checked:
    return register_live(live_door)


@pytest.fixture(scope="module")
def test_door(servers_folder: Path) -> Iterator[EmbeddedServer]:
    settings = {**TEST_SERVER_SETTINGS, "fsync": "off"}
    server = EmbeddedServer(servers_folder / "preflight-test", settings=settings)
    with running(server):
        yield server


@pytest.fixture(scope="module")
def inner(test_door: EmbeddedServer) -> Checked:
    return register_test_server(test_door)


@pytest.mark.parametrize(("code", "severity", "condition"), LIVE, ids=[case[0] for case in LIVE])
def test_what_is_wrong_on_a_live_server_is_found_and_its_sql_mends_it(
    live: Checked, code: str, severity: str, condition: str
) -> None:
    check_found_and_mended(live, code, severity, condition)


@pytest.mark.parametrize(("code", "severity", "condition"), ALONE, ids=[case[0] for case in ALONE])
def test_what_brings_a_second_finding_is_found_and_mended_too(
    fresh: Checked, code: str, severity: str, condition: str
) -> None:
    check_found_and_mended(fresh, code, severity, condition)


@pytest.mark.parametrize(("code", "severity", "condition"), TEST, ids=[case[0] for case in TEST])
def test_what_is_wrong_on_a_test_server_is_found_and_its_sql_mends_it(
    inner: Checked, code: str, severity: str, condition: str
) -> None:
    check_found_and_mended(inner, code, severity, condition)


def test_a_registered_database_has_nothing_to_mend(fresh: Checked) -> None:
    assert worst(fresh.check()) == set()


def test_a_test_server_after_its_setup_has_nothing_to_mend(inner: Checked) -> None:
    assert worst(inner.check()) == set()


def test_what_the_broker_makes_itself_is_nothing_to_mend(fresh: Checked, inner: Checked) -> None:
    scope = masked_scope(new_scope_name())
    make_scope(fresh.target, scope, label_text(scope.name, "scope"), keyed=True)
    issue(fresh.target, new_lease(scope.name).role)
    assert worst(fresh.check()) == set()
    name, owner = "sab_x_preflight", "sab_o_preflight"
    create_sandbox(inner.target, NewSandbox(name, label_text(name), owner, label_text(owner)))
    assert worst(inner.check()) == set()
    drop_sandbox(inner.target, name, [owner])


def test_hostile_names_of_database_and_login_are_quoted(live_door: EmbeddedServer) -> None:
    place = register_live(live_door, HOSTILE)
    conditions = [
        "ALTER ROLE {login} BYPASSRLS NOCREATEROLE",
        "GRANT pg_read_all_data TO {login}",
        "REVOKE sab_reader, pg_signal_backend FROM {login} CASCADE",
        "REVOKE CREATE ON DATABASE {db} FROM {login}",
        "GRANT CONNECT ON DATABASE {db} TO PUBLIC",
        "ALTER ROLE {login} IN DATABASE {db} SET log_statement = 'all'",
        "ALTER DATABASE {db} SET password_encryption = 'md5'",
        "CREATE ROLE {role} LOGIN",
    ]
    for condition in conditions:
        place.make(condition)
    findings = place.check()
    assert len(worst(findings)) >= len(conditions)
    for finding in findings:
        if finding.sql is not None:
            place.psql(finding.sql)
    assert worst(place.check()) == set()
    with admin(live_door, place.target.dbname) as connection:
        connection.execute("SELECT FROM app.customer")  # it is still there


def test_a_known_login_keeps_its_way_in_when_public_loses_it(live: Checked) -> None:
    live.make("CREATE ROLE app_one LOGIN; GRANT CONNECT ON DATABASE {db} TO PUBLIC")
    finding = Checked(live.server, live.target, ("app_one",)).find("database-public")
    assert finding is not None
    live.psql(finding.sql or "")
    with admin(live.server, live.target.dbname) as connection:
        row = connection.execute(
            "SELECT has_database_privilege('app_one', current_database(), 'CONNECT')"
        ).fetchone()
    assert row == (True,)
