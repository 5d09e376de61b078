"""Leases on a real server: one role, never more than its scope (G2)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines import Target
from broker.engines.postgres.account import setup_test_server_sql
from broker.engines.postgres.leases import (
    RoleTaken,
    ScopeExceeded,
    ScopeMissing,
    issue,
)
from broker.engines.postgres.looks import Look, look
from broker.engines.postgres.revoking import revoke
from broker.engines.postgres.scopes import Scope, make_scope
from broker.engines.postgres.scram import make_verifier, new_password
from broker.errors import Invalid
from tests.conftest import admin, new_database
from tests.engines.registered import (
    Lease,
    Registered,
    label_text,
    masked_scope,
    new_lease,
    new_scope_name,
    register,
)

NOTHING = Look(role_exists=False, sessions=0, prepared=0)


@pytest.fixture(scope="module")
def live(live_server: EmbeddedServer) -> Registered:
    return register(live_server)


@pytest.fixture(scope="module")
def scope(live: Registered) -> Scope:
    scope = masked_scope(new_scope_name())
    make_scope(live.target, scope, label_text(scope.name, "scope"), keyed=True)
    return scope


@pytest.fixture
def lease(live: Registered, scope: Scope) -> Lease:
    lease = new_lease(scope.name)
    issue(live.target, lease.role)
    return lease


def can_log_in(live: Registered, lease: Lease) -> bool:
    try:
        live.connect(lease).close()
    except psycopg.OperationalError:
        return False
    return True


def test_issuing_again_also_at_the_same_moment_makes_one_role(
    live: Registered, scope: Scope
) -> None:
    lease = new_lease(scope.name)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: issue(live.target, lease.role), range(4)))
    issue(live.target, lease.role)
    with live.admin() as connection:
        row = connection.execute(
            "SELECT rolcanlogin, rolconnlimit, rolvaliduntil,"
            " (SELECT count(*) FROM pg_auth_members WHERE member = r.oid)"
            " FROM pg_roles r WHERE rolname = %s",
            [lease.role.role],
        ).fetchone()
    assert row == (True, 3, lease.role.valid_until, 2)
    assert can_log_in(live, lease)


def test_the_membership_is_inherited_and_can_not_be_set(live: Registered, lease: Lease) -> None:
    """A session that did SET ROLE would keep reading after REVOKE and after DROP ROLE."""
    with live.admin() as connection:
        rows = connection.execute(
            "SELECT roleid::regrole::text, inherit_option, set_option, admin_option"
            " FROM pg_auth_members WHERE member = %s::regrole ORDER BY 1",
            [lease.role.role],
        ).fetchall()
    assert rows == sorted(
        [(lease.role.scope, True, False, False), ("sab_managed", False, False, False)]
    )


def test_a_name_with_another_label_is_refused(live: Registered, lease: Lease) -> None:
    other = replace(lease.role, label_text=label_text(lease.role.role, hours=9))
    with pytest.raises(RoleTaken):
        issue(live.target, other)


def test_a_lease_that_is_being_ended_is_not_revived(live: Registered, lease: Lease) -> None:
    with live.admin() as connection:
        connection.execute(f"ALTER ROLE {lease.role.role} NOLOGIN VALID UNTIL '-infinity'")
    with pytest.raises(RoleTaken, match="being ended"):
        issue(live.target, lease.role)
    assert not can_log_in(live, lease)


def test_a_lease_whose_end_was_moved_by_somebody_is_not_issued_again(
    live: Registered, lease: Lease
) -> None:
    with live.admin() as connection:
        connection.execute(f"ALTER ROLE {lease.role.role} VALID UNTIL 'infinity'")
    with pytest.raises(RoleTaken, match="altered"):
        issue(live.target, lease.role)


def test_a_lease_without_its_scope_is_refused(live: Registered) -> None:
    lease = new_lease(new_scope_name())
    with pytest.raises(ScopeMissing):
        issue(live.target, lease.role)
    assert look(live.target, lease.role.role) == NOTHING


@pytest.mark.parametrize(
    ("make", "unmake", "mend"),
    [
        (
            "GRANT SELECT ON app.invoice TO PUBLIC",
            "REVOKE ALL ON app.invoice FROM PUBLIC",
            "REVOKE ALL ON TABLE app.invoice FROM PUBLIC;",
        ),
        (
            "GRANT SELECT (email) ON app.customer TO PUBLIC",
            "REVOKE ALL ON app.customer FROM PUBLIC",
            "REVOKE ALL ON TABLE app.customer FROM PUBLIC;",
        ),
        (
            "GRANT USAGE ON SEQUENCE app.invoice_id_seq TO PUBLIC",
            "REVOKE ALL ON SEQUENCE app.invoice_id_seq FROM PUBLIC",
            "REVOKE ALL ON SEQUENCE app.invoice_id_seq FROM PUBLIC;",
        ),
        (
            "GRANT CREATE ON SCHEMA app TO PUBLIC",
            "REVOKE CREATE ON SCHEMA app FROM PUBLIC",
            "REVOKE CREATE ON SCHEMA app FROM PUBLIC;",
        ),
        (
            "GRANT UPDATE ON app.customer TO {scope}",
            "REVOKE ALL ON app.customer FROM {scope}",
            "REVOKE ALL ON TABLE app.customer FROM {scope};",
        ),
        (
            "GRANT SELECT ON {scope}.masking_key TO PUBLIC",
            "REVOKE ALL ON {scope}.masking_key FROM PUBLIC",
            "REVOKE ALL ON TABLE {scope}.masking_key FROM PUBLIC;",
        ),
    ],
)
def test_what_is_granted_beyond_the_scope_makes_issuing_refuse_and_leaves_no_role(
    live: Registered, scope: Scope, make: str, unmake: str, mend: str
) -> None:
    lease = new_lease(scope.name)
    with live.admin() as connection:
        connection.execute(make.format(scope=scope.name))
        try:
            with pytest.raises(ScopeExceeded) as refusal:
                issue(live.target, lease.role)
            wanted = mend.format(scope=scope.name)
            assert wanted in refusal.value.message
            assert refusal.value.facts["sql"] == wanted
            assert look(live.target, lease.role.role) == NOTHING
            connection.execute(refusal.value.facts["sql"])
        finally:
            connection.execute(unmake.format(scope=scope.name))
    issue(live.target, lease.role)


@pytest.mark.parametrize("role", ["lease", "scope"])
def test_a_membership_that_somebody_added_makes_issuing_refuse(
    live: Registered, scope: Scope, lease: Lease, role: str
) -> None:
    name = lease.role.role if role == "lease" else scope.name
    with live.admin() as connection:
        connection.execute(f"GRANT pg_monitor TO {name}")
        try:
            with pytest.raises(ScopeExceeded, match=name):
                issue(live.target, lease.role)
        finally:
            connection.execute(f"REVOKE pg_monitor FROM {scope.name}")
    assert look(live.target, lease.role.role) == NOTHING


def test_a_lease_reaches_no_other_database_that_was_set_up(
    live: Registered, live_server: EmbeddedServer, lease: Lease
) -> None:
    other = register(live_server)
    with pytest.raises(psycopg.OperationalError, match="does not have CONNECT"):
        other.connect(lease)


def test_names_verifiers_and_labels_that_are_none_are_refused(lease: Lease) -> None:
    for wrong in (
        {"role": "postgres"},
        {"role": "sab_l_" + "ä" * 29},  # 64 bytes: PostgreSQL would cut it
        {"verifier": "hunter2"},
        {"label_text": "a role of mine"},
        {"valid_until": lease.role.valid_until.replace(tzinfo=None)},
    ):
        with pytest.raises(Invalid):
            replace(lease.role, **wrong)


def test_neither_password_nor_masking_key_is_in_the_servers_log_when_all_is_logged(
    live: Registered, live_server: EmbeddedServer
) -> None:
    scope = masked_scope(new_scope_name())
    lease = new_lease(scope.name)
    # Settings of a database take effect in the sessions that start from now on.
    database = sql.Identifier(live.target.dbname)
    settings = {"log_statement": "all", "log_min_error_statement": "error"}
    with live.admin() as connection:
        for name, value in settings.items():
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    database, sql.Identifier(name), value
                )
            )
        try:
            make_scope(live.target, scope, label_text(scope.name, "scope"), keyed=True)
            issue(live.target, lease.role)
            with live.connect(lease) as user:
                user.execute("SELECT * FROM customer")
            revoke(live.target, lease.role.role)
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(database))
    with live.admin() as connection:
        row = connection.execute(f"SELECT i, o FROM {scope.name}.masking_key").fetchone()
    assert row is not None
    inner, outer = row
    text = live_server.log.read_text().lower()
    assert f'create role "{lease.role.role}"' in text
    assert "masking_key" in text
    key = bytes(byte ^ 0x36 for byte in inner[:32])
    for needle in (lease.password.reveal().lower(), inner.hex(), outer.hex(), key.hex()):
        assert needle not in text


def test_on_a_test_server_a_lease_gets_a_sandbox_unbounded(test_server: EmbeddedServer) -> None:
    dbname = new_database(test_server)
    password = new_password()
    user = f"broker_{dbname}"
    text = setup_test_server_sql(user, make_verifier(password))
    with admin(test_server) as connection:
        connection.execute(text)
        connection.execute(text)
    target = Target(test_server.host, test_server.port, dbname, user, password)
    with admin(test_server, dbname) as connection:
        connection.execute(f"SET ROLE {user}")
        connection.execute(f"CREATE ROLE template_{dbname}")
        connection.execute("RESET ROLE")
        connection.execute("CREATE TABLE t (x int)")
        connection.execute("GRANT SELECT ON t TO PUBLIC")
    lease = new_lease(f"template_{dbname}")
    issue(target, lease.role, bounded=False)
    with Registered(test_server, target).connect(lease) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
        assert connection.execute("SHOW search_path").fetchone() == ('"$user", public',)
    revoke(target, lease.role.role)
    assert look(target, lease.role.role) == NOTHING
