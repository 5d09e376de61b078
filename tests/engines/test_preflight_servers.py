"""A preflight of servers as they may be met, what it leaves untouched, and unexplained logins."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from broker.embedded import TEST_SERVER_SETTINGS, EmbeddedServer, running
from broker.engines import ServerUnavailable
from broker.engines.postgres.connect import find_tool
from broker.engines.postgres.preflight import (
    Finding,
    KnownLogin,
    LoginSeen,
    check_live,
    check_test_server,
    find_unexplained,
    format_findings,
    list_logins,
)
from broker.engines.postgres.preflight.server import is_pooled, judge_version
from tests.conftest import admin
from tests.engines.preflight_world import (
    SCHEMAS,
    Checked,
    check_found_and_mended,
    register_live,
    register_test_server,
    worst,
)
from tests.engines.registered import wait_for
from tests.engines.rewriting_proxy import as_pooler, as_version, proxied
from tests.engines.test_preflight import LIVE, TEST

UNKNOWN_TO_15 = ("SET FALSE", "INHERIT FALSE", "ON login")

# Everything by which a role could do more or less, and what a look might leave behind.
CATALOGUE = (
    *("pg_attrdef", "pg_auth_members", "pg_authid", "pg_constraint", "pg_database", "pg_depend"),
    *("pg_db_role_setting", "pg_default_acl", "pg_description", "pg_event_trigger", "pg_extension"),
    *("pg_foreign_data_wrapper", "pg_foreign_server", "pg_init_privs", "pg_language"),
    *("pg_largeobject_metadata", "pg_namespace", "pg_parameter_acl", "pg_policy", "pg_proc"),
    *("pg_replication_slots", "pg_rewrite", "pg_shdepend", "pg_shdescription", "pg_trigger"),
    *("pg_type", "pg_user_mapping", "pg_file_settings", "pg_prepared_xacts"),
)


@pytest.fixture(scope="module")
def door(servers_folder: Path) -> Iterator[EmbeddedServer]:
    """A server as it comes out of the box; also a bad test server."""
    server = EmbeddedServer(servers_folder / "preflight-box", settings={"fsync": "off"})
    with running(server):
        yield server


@pytest.fixture(scope="module")
def inner(door: EmbeddedServer) -> Checked:
    return register_test_server(door)


@pytest.fixture(scope="module")
def live(door: EmbeddedServer, inner: Checked) -> Checked:
    """Registered last, so that the other's login is known."""
    return register_live(door)


def snapshot(place: Checked) -> dict[str, list[str]]:
    questions = {table: f"SELECT t::text FROM {table} t ORDER BY 1" for table in CATALOGUE}
    questions["pg_class"] = (
        "SELECT concat_ws(' ', oid, relname, relowner, relkind, relacl, reloptions,"
        " relrowsecurity) FROM pg_class ORDER BY 1"
    )
    questions["pg_attribute"] = (
        "SELECT concat_ws(' ', attrelid, attname, attacl, attoptions) FROM pg_attribute ORDER BY 1"
    )
    with admin(place.server, place.target.dbname) as connection:
        return {
            table: [row[0] for row in connection.execute(sql.SQL(question))]  # type: ignore[arg-type]  # our own words
            for table, question in questions.items()
        }


def test_a_preflight_changes_nothing_on_the_server(live: Checked, inner: Checked) -> None:
    live.make("GRANT SELECT ON app.customer TO PUBLIC; ALTER ROLE {login} BYPASSRLS")
    before = snapshot(live), snapshot(inner)
    live.check()
    inner.check()
    list_logins(live.target)
    assert (snapshot(live), snapshot(inner)) == before
    live.make("REVOKE SELECT ON app.customer FROM PUBLIC; ALTER ROLE {login} NOBYPASSRLS")


def test_no_function_of_the_tenants_runs(live: Checked) -> None:
    """Neither one that shadows PostgreSQL's own nor one that a policy or a view calls."""
    live.make(
        """
        CREATE FUNCTION app.trap() RETURNS boolean LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'the tenant''s code ran'; END $$;
        CREATE FUNCTION public.quote_ident(name) RETURNS text LANGUAGE sql AS 'SELECT app.trap()';
        CREATE FUNCTION public.quote_ident(text) RETURNS text LANGUAGE sql AS 'SELECT app.trap()';
        CREATE FUNCTION public.same(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT app.trap()';
        CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = public.same);
        CREATE VIEW public.pg_roles AS SELECT app.trap();
        CREATE TABLE public.pg_class (oid oid CHECK (app.trap()));
        CREATE POLICY p ON public.pg_class USING (app.trap());
        ALTER TABLE public.pg_class ENABLE ROW LEVEL SECURITY;
        """
    )
    assert live.find("row-security") is not None
    live.make(
        "DROP TABLE public.pg_class; DROP VIEW public.pg_roles; DROP OPERATOR public.= (oid, oid);"
        " DROP FUNCTION public.same, app.trap, public.quote_ident(text), public.quote_ident(name)"
    )


@pytest.mark.parametrize(
    "policy",
    [
        "USING (tenant = current_setting('app.tenant')::int)",
        "WITH CHECK (tenant::text = current_setting('app.tenant', true))",
        "USING (tenant = app.mine())",
    ],
)
def test_a_policy_that_follows_a_setting_is_found_until_a_restrictive_one_stands_beside_it(
    door: EmbeddedServer, policy: str
) -> None:
    place = register_live(door)
    place.make(
        "CREATE FUNCTION app.mine() RETURNS int LANGUAGE sql STABLE"
        " RETURN current_setting('app.tenant')::int;"
        " ALTER TABLE app.customer ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY fixed ON app.customer USING (tenant = 1)"
    )
    assert place.find("policy-by-setting") is None
    note = place.find("row-security")
    assert note is not None
    assert "app.customer" in note.what
    place.make(f'CREATE POLICY "by; ""x" ON app.customer {policy}')
    finding = place.find("policy-by-setting")
    assert finding is not None
    assert '"by; ""x" on app.customer' in finding.what
    assert "fixed" not in finding.what
    place.make("CREATE POLICY wall ON app.customer AS RESTRICTIVE TO sab_reader USING (tenant = 1)")
    assert place.find("policy-by-setting") is None


def test_a_registered_schema_that_is_not_there_is_fatal(live: Checked) -> None:
    findings = check_live(live.target, [*SCHEMAS, "gone; --"])
    assert [(f.code, f.severity) for f in findings if "gone" in f.what] == [
        ("schema-missing", "fatal")
    ]


def test_a_role_of_the_setup_that_is_gone_is_made_again_by_the_findings(live: Checked) -> None:
    live.make("ALTER ROLE sab_managed RENAME TO kept_m; ALTER ROLE sab_reader RENAME TO kept_r")
    for finding in live.check():  # the roles come first, then what they need
        if finding.sql is not None and finding.severity != "note":
            live.psql(finding.sql)
    assert not [f for f in live.check() if f.severity == "fatal"]
    live.make(
        "DROP OWNED BY sab_managed, sab_reader; DROP ROLE sab_managed, sab_reader;"
        " ALTER ROLE kept_m RENAME TO sab_managed; ALTER ROLE kept_r RENAME TO sab_reader"
    )


def test_installed_extensions_that_public_cannot_use_are_a_note(door: EmbeddedServer) -> None:
    place = register_live(door)
    place.make("CREATE EXTENSION file_fdw SCHEMA app")
    note = place.find("extension-installed")
    assert note is not None
    assert (note.severity, note.sql) == ("note", None)
    assert place.find("extension-reaches-out") is None


def test_trust_lines_are_named_as_soon_as_they_can_be_read(live: Checked) -> None:
    note = live.find("hba-unseen")
    assert note is not None
    live.psql(note.sql or "")
    assert live.find("hba-unseen") is None
    assert live.find("hba-trust") is None
    rules = live.server.data / "pg_hba.conf"
    before = rules.read_text()
    try:
        rules.write_text(before + "\nhost all all 127.0.0.1/32 trust\n")
        finding = live.wait_to_find("hba-trust")
        assert f"line {len(before.splitlines()) + 2}" in finding.what
    finally:
        rules.write_text(before)


def test_our_login_refused_is_an_error_and_no_empty_list(live: Checked) -> None:
    with pytest.raises(ServerUnavailable):
        check_live(replace(live.target, dbname="none"), SCHEMAS)


def test_postgresql_14_is_refused_with_a_sentence(live: Checked) -> None:
    with proxied(replace(live.target, host=live.server.host), as_version("14.12")) as old:
        findings = check_live(old, SCHEMAS)
    assert [(f.code, f.severity) for f in findings] == [("server-too-old", "fatal")]
    assert "15 or newer" in findings[0].what


def test_versions_from_15_to_18_are_known() -> None:
    assert [list(judge_version(v)) for v in (150000, 160002, 170010, 180006)] == [[]] * 4
    assert [f.code for f in judge_version(190000)] == ["server-too-new"]


def test_a_pooler_is_known_by_the_process_that_answers(live: Checked) -> None:
    assert live.find("pooler") is None
    with proxied(replace(live.target, host=live.server.host), as_pooler) as pooled:
        assert "pooler" in {finding.code for finding in check_live(pooled, SCHEMAS)}


def test_a_pooler_is_known_by_changing_processes_or_a_lost_name() -> None:
    ours = "support-access-broker"
    assert not is_pooled(7, [7, 7], [ours, ours])
    assert is_pooled(7, [7, 8], [ours, ours])
    assert is_pooled(7, [7, 7], [ours, "psql"])


def test_replicas_and_slots_are_named(live: Checked, inner: Checked, tmp_path: Path) -> None:
    assert live.find("replicas") is None
    assert inner.find("sandboxes-replicated") is None
    live.make("SELECT pg_create_physical_replication_slot('left_behind')")
    receiver = subprocess.Popen(
        [find_tool("pg_receivewal"), "-D", str(tmp_path), "-d", "application_name=stream_one"],
        env={
            "PGHOST": live.server.host,
            "PGUSER": "postgres",
            "PGPASSWORD": live.server.password.reveal(),
        },
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: "stream_one" in live.wait_to_find("replicas").what, "the stream is seen")
        for place, code, severity in (
            (live, "replicas", "note"),
            (inner, "sandboxes-replicated", "fatal"),
        ):
            finding = place.wait_to_find(code)
            assert finding.severity == severity
            assert "left_behind" in finding.what
            assert "stream_one" in finding.what
    finally:
        receiver.terminate()
        receiver.wait()
    live.make("SELECT pg_drop_replication_slot('left_behind')")
    inner.wait_until_gone("sandboxes-replicated")


def test_what_needs_a_restart_is_found_and_mended(servers_folder: Path) -> None:
    server = EmbeddedServer(servers_folder / "preflight-restarted", settings={"fsync": "off"})
    codes = {
        "wal-archived",
        "wal-level",
        "wal-senders",
        "wal-recycled",
        "log-explain",
        "statement-texts",
        "log-files",
        "prepared-transactions",
    }
    with running(server):
        place = register_test_server(server)
        place.psql(
            "ALTER SYSTEM SET archive_mode = on; ALTER SYSTEM SET wal_level = 'logical';"
            " ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'pg_stat_statements';"
            " ALTER SYSTEM SET logging_collector = on;"
            " ALTER SYSTEM SET max_prepared_transactions = 2"
        )
        server.stop()
        server.start()
        place.psql("ALTER SYSTEM SET auto_explain.log_min_duration = 0; SELECT pg_reload_conf()")
        place.wait_to_find("log-explain")
        findings = [f for f in place.check() if f.code in codes]
        assert {f.code for f in findings} == codes
        live = register_live(server)
        assert live.find("prepared-transactions") is not None
        for finding in findings:
            assert finding.sql is not None
            place.psql(finding.sql)
        server.stop()
        server.start()
        assert not codes & {f.code for f in place.check()}
        assert live.find("prepared-transactions") is None


def test_what_stands_on_the_command_line_has_no_sql(servers_folder: Path) -> None:
    server = EmbeddedServer(
        servers_folder / "preflight-arguments", settings={"fsync": "off", "archive_mode": "on"}
    )
    with running(server):
        finding = register_test_server(server).find("wal-archived")
    assert finding is not None
    assert finding.sql is None
    assert "command line" in finding.what


def test_a_standby_is_refused(servers_folder: Path) -> None:
    primary = EmbeddedServer(servers_folder / "preflight-primary", settings={"fsync": "off"})
    standby = EmbeddedServer(servers_folder / "preflight-standby", settings={"fsync": "off"})
    with running(primary):
        place = register_live(primary)
    shutil.copytree(primary.folder, standby.folder)
    for path in [standby.data, *standby.data.rglob("*")]:
        owner = (primary.data / path.relative_to(standby.data)).stat()
        os.chown(path, owner.st_uid, owner.st_gid)
    (standby.data / "standby.signal").touch()
    with running(standby):
        copy = dataclasses.replace(place, server=standby)
        finding = copy.find("standby")
        assert finding is not None
        assert finding.severity == "fatal"
        assert "standby" in {
            f.code for f in check_test_server(replace(copy.target, host=standby.host))
        }


def test_logins_are_listed_with_their_sessions_also_of_roles_that_are_gone(live: Checked) -> None:
    password = live.server.password
    with admin(live.server, live.target.dbname) as connection:
        connection.execute(
            "CREATE ROLE in_use LOGIN REPLICATION PASSWORD 'x' VALID UNTIL '2999-01-01 00:00+00'"
        )
        connection.execute("CREATE ROLE far LOGIN VALID UNTIL '20000-01-01'")
        connection.execute("CREATE ROLE ended LOGIN VALID UNTIL '-infinity'")
        connection.execute("CREATE ROLE never_in NOLOGIN")
        for role in ("in_use", "doomed"):
            if role == "doomed":
                connection.execute("CREATE ROLE doomed LOGIN PASSWORD 'x'")
            connection.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                    sql.Identifier(live.target.dbname), sql.Identifier(role)
                )
            )
        with enter(live, "in_use"), enter(live, "doomed"):
            connection.execute("ALTER ROLE in_use NOLOGIN")
            oid = connection.execute("SELECT 'doomed'::regrole::oid").fetchone()
            connection.execute("DROP OWNED BY doomed")
            connection.execute("DROP ROLE doomed")
            seen = {login.name: login for login in list_logins(live.target)}
        connection.execute("DROP OWNED BY in_use")
        connection.execute("DROP ROLE in_use, far, ended, never_in")
    assert oid is not None
    assert seen["in_use"] == LoginSeen(
        "in_use",
        superuser=False,
        createrole=False,
        replication=True,
        bypassrls=False,
        valid_until=datetime(2999, 1, 1, tzinfo=UTC),
        sessions=1,
    )
    assert seen[f"dropped role {oid[0]}"].sessions == 1
    assert seen["far"].valid_until is None
    assert seen["ended"].valid_until is not None
    assert seen["ended"].valid_until.year == 1
    assert seen["postgres"].superuser
    assert seen[live.target.user].valid_until is None
    assert "never_in" not in seen
    assert password.reveal() not in repr(seen)


def enter(place: Checked, user: str) -> psycopg.Connection:
    return psycopg.connect(
        host=place.server.host, dbname=place.target.dbname, user=user, password="x"
    )


def seen_login(name: str, **attributes: bool) -> LoginSeen:
    plain = dict.fromkeys(("superuser", "createrole", "replication", "bypassrls"), False)
    return LoginSeen(name, **{**plain, **attributes}, valid_until=None, sessions=0)


def test_a_login_that_nobody_registered_or_that_grew_is_unexplained() -> None:
    app, backup, stranger = (
        seen_login("app", bypassrls=True),
        seen_login("backup", replication=True),
        seen_login("stranger", superuser=True),
    )
    known = [KnownLogin("app"), KnownLogin("backup", frozenset({"replication"}))]
    found = find_unexplained([app, backup, stranger], known)
    assert [(u.login, u.is_known, u.excess) for u in found] == [
        (app, True, ("bypassrls",)),
        (stranger, False, ("superuser",)),
    ]


def test_logins_are_not_compared_where_none_is_registered(live: Checked) -> None:
    live.make("CREATE ROLE nobody_knows LOGIN")
    assert "unexplained-login" not in {f.code for f in check_live(live.target, SCHEMAS)}
    assert live.find("unexplained-login") is not None
    live.make("DROP ROLE nobody_knows")


def test_the_worst_comes_first(live: Checked) -> None:
    live.make(
        "ALTER ROLE {login} SUPERUSER BYPASSRLS; ALTER ROLE {login} SET log_statement = 'all'"
    )
    severities = [finding.severity for finding in live.check()]
    live.make("ALTER ROLE {login} NOSUPERUSER NOBYPASSRLS; ALTER ROLE {login} RESET log_statement")
    assert severities == sorted(severities, key=["fatal", "warning", "note"].index)
    assert set(severities) == {"fatal", "warning", "note"}


def test_shown_on_a_terminal_a_name_moves_no_cursor() -> None:
    text = format_findings(
        [Finding("c", "fatal", 'on "a\x1b[2J\u202eb"', "why", 'REVOKE a;\nREVOKE "\x1b";')]
    )
    assert text.splitlines()[0] == 'FATAL   on "a\\x1b[2J\\u202eb"  [c]'
    assert text.isprintable() or text.replace("\n", "").isprintable()
    assert format_findings([]) == "Nothing was found.\n"


@pytest.mark.system
def test_postgresql_15_from_packages_is_judged_by_the_same_checks(
    servers_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its CREATEROLE is another and it has no options of memberships; nothing else differs."""
    packaged = Path("/usr/lib/postgresql/15")
    if not packaged.is_dir():
        pytest.skip("PostgreSQL 15 is not installed: apt-get install postgresql-15")
    monkeypatch.setattr("broker.embedded.install_folder", lambda: packaged)
    old = EmbeddedServer(servers_folder / "preflight-15", settings={"fsync": "off"})
    settings = {**TEST_SERVER_SETTINGS, "fsync": "off"}
    old_test = EmbeddedServer(servers_folder / "preflight-15-test", settings=settings)
    with running(old, old_test):
        with admin(old) as connection:
            assert connection.info.server_version // 10000 == 15
            connection.execute("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
        for place, cases in ((register_live(old), LIVE), (register_test_server(old_test), TEST)):
            assert worst(place.check()) == set()
            for code, severity, condition in cases:
                if not any(words in condition for words in UNKNOWN_TO_15):
                    check_found_and_mended(place, code, severity, condition)
