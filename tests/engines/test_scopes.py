"""Scopes on a real server: what a lease sees through one, and that nothing stays of it (G4, G5)."""

from __future__ import annotations

import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines.postgres.account import setup_sql, setup_test_server_sql
from broker.engines.postgres.leases import issue
from broker.engines.postgres.looks import AccountTooWeak, NotOurs, StillThere, list_marked_roles
from broker.engines.postgres.revoking import revoke
from broker.engines.postgres.scopes import (
    Scope,
    ScopeInUse,
    View,
    drop_scope,
    list_scope_schemas,
    make_scope,
)
from broker.engines.postgres.scram import make_verifier, new_password
from broker.errors import Invalid, Unavailable
from tests.conftest import admin
from tests.engines.registered import (
    Lease,
    Registered,
    label_text,
    masked_scope,
    new_lease,
    new_scope_name,
    register,
)


@pytest.fixture(scope="module")
def live(live_server: EmbeddedServer) -> Registered:
    return register(live_server)


@pytest.fixture
def scope(live: Registered) -> Scope:
    scope = masked_scope(new_scope_name())
    make_scope(live.target, scope, label_text(scope.name, "scope"), keyed=True)
    return scope


@pytest.fixture
def lease(live: Registered, scope: Scope) -> Lease:
    lease = new_lease(scope.name)
    issue(live.target, lease.role)
    return lease


def read_key(live: Registered, scope: Scope) -> tuple[bytes, bytes]:
    with live.admin() as connection:
        rows = connection.execute(f"SELECT i, o FROM {scope.name}.masking_key").fetchall()
    assert len(rows) == 1
    return rows[0]


def test_a_lease_reads_masked_rows_of_its_tenant_only(live: Registered, lease: Lease) -> None:
    with live.connect(lease) as connection:
        rows = connection.execute("SELECT id, email FROM customer").fetchall()
    assert len(rows) == 500
    assert all(identity % 2 == 1 and len(email) == 64 for identity, email in rows)


def test_the_two_pads_make_the_hmac_that_python_computes(
    live: Registered, scope: Scope, lease: Lease
) -> None:
    inner, outer = read_key(live, scope)
    key = bytes(byte ^ 0x36 for byte in inner[:32])
    assert inner == key.ljust(64, b"\0").translate(bytes(n ^ 0x36 for n in range(256)))
    assert outer == key.ljust(64, b"\0").translate(bytes(n ^ 0x5C for n in range(256)))
    with live.connect(lease) as connection:
        row = connection.execute("SELECT email FROM customer WHERE id = 7").fetchone()
    assert row == (hmac.new(key, b"person7@example.org", hashlib.sha256).hexdigest(),)


def test_two_scopes_have_two_keys(live: Registered, scope: Scope) -> None:
    other = masked_scope(new_scope_name())
    make_scope(live.target, other, label_text(other.name, "scope"), keyed=True)
    assert read_key(live, scope) != read_key(live, other)


@pytest.mark.parametrize("name", ["{scope}", "sab_managed"])
def test_a_lease_may_not_become_the_role_that_it_is_a_member_of(
    live: Registered, lease: Lease, name: str
) -> None:
    """A session that did would keep reading after REVOKE. PostgreSQL 15 can't forbid it."""
    role = sql.Identifier(name.format(scope=lease.role.scope))
    with live.connect(lease) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(sql.SQL("SET ROLE {}").format(role))


@pytest.mark.parametrize(
    "attempt",
    [
        "SELECT * FROM app.customer",
        "SELECT email FROM app.customer LIMIT 1",
        "SELECT * FROM masking_key",
        "SELECT to_jsonb(k) FROM masking_key k",
        "INSERT INTO customer VALUES (1, 'x')",
        "UPDATE customer SET email = 'x'",
        "DELETE FROM customer",
        "CREATE TABLE here (x int)",
        "CREATE TABLE public.here (x int)",
        "CREATE SCHEMA mine",
        "CREATE TEMPORARY TABLE t (x int)",
        "CREATE ROLE somebody",
        "ALTER ROLE CURRENT_USER VALID UNTIL 'infinity'",
        "ALTER ROLE CURRENT_USER CONNECTION LIMIT 50",
        "SELECT * FROM pg_authid",
        "SELECT * FROM pg_statistic",
        "SELECT pg_read_file('/etc/hostname')",
        "COPY customer TO PROGRAM 'true'",
        "SELECT lo_import('/etc/hostname')",
        "SET ROLE {scope}_o",
        "SET ROLE sab_reader",
        "GRANT {scope} TO PUBLIC",
        "DROP VIEW customer",
    ],
)
def test_a_lease_is_refused(live: Registered, lease: Lease, attempt: str) -> None:
    with live.connect(lease) as connection, pytest.raises(psycopg.Error) as refusal:
        connection.execute(attempt.format(scope=lease.role.scope))
    assert isinstance(
        refusal.value,
        psycopg.errors.InsufficientPrivilege
        | psycopg.errors.InvalidGrantOperation
        | psycopg.errors.ObjectNotInPrerequisiteState
        | psycopg.errors.InvalidRoleSpecification
        | psycopg.errors.UndefinedObject,
    )


def test_a_leaky_function_sees_no_row_beyond_the_view(live: Registered, lease: Lease) -> None:
    """Without security_barrier a cheap function in WHERE would be called on tenant 0's rows."""
    with live.connect(lease) as connection:
        plan = connection.execute(
            "EXPLAIN SELECT * FROM customer WHERE set_config('x.y', email, true) <> ''"
        ).fetchall()
    assert any("Subquery Scan" in line for (line,) in plan)


def test_the_whole_catalogue_shows_no_key_to_the_lease(
    live: Registered, scope: Scope, lease: Lease
) -> None:
    """pg_get_viewdef shows a view's text to everybody: so no key may be in it."""
    inner, _ = read_key(live, scope)
    key = bytes(byte ^ 0x36 for byte in inner[:32])
    needles = [inner.hex(), inner[:32].hex(), key.hex()]
    texts: list[str] = []
    with live.connect(lease) as connection:
        tables = connection.execute(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'v')"
            " AND c.relnamespace IN ('pg_catalog'::regnamespace,"
            " 'information_schema'::regnamespace)"
            " AND has_table_privilege(c.oid, 'SELECT')"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.SQL(table)))
            texts += [text for (text,) in rows]
        views = connection.execute("SELECT pg_get_viewdef(oid) FROM pg_class WHERE relkind = 'v'")
        texts += [text for (text,) in views]
        texts += [str(row) for row in connection.execute("SHOW ALL")]
    assert len(tables) > 100
    assert any("masking_key" in text for text in texts)
    assert not [n for n in needles for text in texts if n in text.lower()]


def test_the_broker_itself_cannot_read_the_key(live: Registered, scope: Scope) -> None:
    with (
        psycopg.connect(
            host=live.target.host,
            port=live.target.port,
            dbname=live.target.dbname,
            user=live.target.user,
            password=live.target.password.reveal(),
        ) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(f"SELECT * FROM {scope.name}.masking_key")


def test_making_a_scope_twice_keeps_its_key_and_mends_what_is_missing(
    live: Registered, scope: Scope, lease: Lease
) -> None:
    before = read_key(live, scope)
    with live.admin() as connection:
        connection.execute(f"DROP VIEW {scope.name}.customer")
    make_scope(live.target, scope, label_text(scope.name, "scope"), keyed=True)
    assert read_key(live, scope) == before
    with live.connect(lease) as connection:
        row = connection.execute("SELECT count(*) FROM customer").fetchone()
    assert row == (500,)


def test_scopes_made_at_the_same_moment_do_not_fail_each_other(live: Registered) -> None:
    """Each grants CONNECT on one database: PostgreSQL fails such grants when they meet."""
    shared = new_scope_name()
    names = [shared, shared, *(new_scope_name() for _ in range(4))]

    def make(name: str) -> None:
        make_scope(live.target, masked_scope(name), label_text(name, "scope"), keyed=True)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(make, names))
    assert set(names) <= set(list_scope_schemas(live.target))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: drop_scope(live.target, name), names))
    assert not set(names) & set(list_scope_schemas(live.target))


def test_a_dropped_scope_is_nowhere_and_the_tenant_alters_its_tables(
    live_server: EmbeddedServer,
) -> None:
    """A view that stayed would block the tenant's migrations."""
    live = register(live_server)
    scope = masked_scope(new_scope_name())
    make_scope(live.target, scope, label_text(scope.name, "scope"), keyed=True)
    with live.admin() as connection:
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            connection.execute("ALTER TABLE app.customer ALTER email TYPE varchar(99)")
        drop_scope(live.target, scope.name)
        connection.execute("ALTER TABLE app.customer ALTER email TYPE varchar(99)")
        connection.execute("DROP TABLE app.invoice, app.customer")
        acl = connection.execute(
            "SELECT datacl::text FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert acl is not None
    assert scope.name not in acl[0]
    assert list_scope_schemas(live.target) == []
    assert not [r for r in list_marked_roles(live.target) if r.name.startswith(scope.name)]
    drop_scope(live.target, scope.name)


def test_a_scope_that_a_lease_uses_is_not_dropped(
    live: Registered, scope: Scope, lease: Lease
) -> None:
    with pytest.raises(ScopeInUse, match=lease.role.role):
        drop_scope(live.target, scope.name)
    revoke(live.target, lease.role.role)
    drop_scope(live.target, scope.name)


def test_what_somebody_built_upon_a_scope_is_reported_and_not_dropped(
    live: Registered, scope: Scope
) -> None:
    with live.admin() as connection:
        connection.execute(f"CREATE VIEW app.kept AS SELECT id FROM {scope.name}.customer")
        with pytest.raises(StillThere, match=r"app\.kept"):
            drop_scope(live.target, scope.name)
        connection.execute("DROP VIEW app.kept")
    drop_scope(live.target, scope.name)


def test_a_role_or_schema_of_a_scopes_name_that_is_not_ours_is_left_alone(
    live: Registered,
) -> None:
    scope = masked_scope(new_scope_name())
    with live.admin() as connection:
        connection.execute(f"CREATE ROLE {scope.name} IN ROLE sab_managed")
        with pytest.raises(NotOurs):
            make_scope(live.target, scope, label_text(scope.name), keyed=True)
        with pytest.raises(NotOurs):
            drop_scope(live.target, scope.name)
        connection.execute(f"DROP ROLE {scope.name}")
        connection.execute(f"CREATE SCHEMA {scope.name}")
        with pytest.raises(NotOurs):
            make_scope(live.target, scope, label_text(scope.name), keyed=True)
        connection.execute(f"DROP SCHEMA {scope.name}")


def test_a_scope_without_mask_keys_has_no_key_table(live: Registered) -> None:
    name = new_scope_name()
    view = View("ids", sql.SQL("SELECT c.id FROM app.customer c WHERE c.tenant = {}").format(1))
    make_scope(live.target, Scope(name, (view,)), label_text(name, "scope"), keyed=False)
    with live.admin() as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace", [name]
        ).fetchall()
    assert rows == [("ids",)]


def test_marked_roles_are_listed_with_label_and_end_and_the_broker_is_not(
    live: Registered, scope: Scope, lease: Lease
) -> None:
    found = {role.name: role for role in list_marked_roles(live.target)}
    assert live.target.user not in found
    assert {scope.name, scope.owner, lease.role.role} <= found.keys()
    assert not found[scope.name].can_login
    assert found[lease.role.role].can_login
    assert found[lease.role.role].comment == lease.role.label_text
    assert found[lease.role.role].valid_until == lease.role.valid_until


def test_names_with_quotes_and_signs_are_quoted(live_server: EmbeddedServer) -> None:
    dbname, schema, user = "a\"b'; -- %s", 'x"y', "l'o\"g%in"
    verifier = make_verifier(new_password())
    with admin(live_server) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(dbname)))
    with admin(live_server, dbname) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        version = connection.info.server_version
        text = setup_sql(
            dbname, user, verifier, [schema], app_roles=["postgres"], server_version=version
        )
        connection.execute(text)
        row = connection.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [user])
        assert row.fetchone() == (1,)


def test_tables_that_the_application_makes_later_are_readable_and_it_keeps_its_rights(
    live: Registered,
) -> None:
    application = f"app_{live.target.dbname}"
    verifier = make_verifier(live.target.password)
    with live.admin() as connection:
        connection.execute(f"CREATE ROLE {application}; GRANT ALL ON SCHEMA app TO {application}")
        connection.execute(
            setup_sql(
                live.target.dbname,
                live.target.user,
                verifier,
                ["app"],
                app_roles=[application],
                server_version=connection.info.server_version,
            )
        )
        connection.execute(f"SET ROLE {application}; CREATE TABLE app.later (x serial)")
        row = connection.execute(
            "SELECT has_table_privilege('sab_reader', 'app.later', 'SELECT'),"
            " has_sequence_privilege('sab_reader', 'app.later_x_seq', 'SELECT'),"
            " has_database_privilege(current_database(), 'CONNECT'),"
            " has_database_privilege(current_database(), 'TEMPORARY')"
        ).fetchone()
    assert row == (True, True, True, True)


def test_an_account_without_the_setups_grants_is_told_so(live_server: EmbeddedServer) -> None:
    live = register(live_server)
    with live.admin() as connection:
        connection.execute(
            f'REVOKE CONNECT ON DATABASE "{live.target.dbname}" FROM "{live.target.user}" CASCADE'
        )
        connection.execute(f'GRANT CONNECT ON DATABASE "{live.target.dbname}" TO PUBLIC')
        connection.execute(
            f'REVOKE CREATE ON DATABASE "{live.target.dbname}" FROM "{live.target.user}"'
        )
    scope = masked_scope(new_scope_name())
    with pytest.raises(AccountTooWeak, match="setup"):
        make_scope(live.target, scope, label_text(scope.name), keyed=True)


def test_the_setup_takes_neither_a_clear_password_nor_an_old_server() -> None:
    verifier = make_verifier(new_password())
    with pytest.raises(Invalid):
        setup_sql("d", "sab_broker", "hunter2", ["app"])
    with pytest.raises(Unavailable, match="PostgreSQL 14 is too old"):
        setup_test_server_sql("sab_broker", verifier, server_version=140012)
    assert "INHERIT" not in setup_sql("d", "b", verifier, ["app"], server_version=150008).replace(
        "LOGIN INHERIT", ""
    )
