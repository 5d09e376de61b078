"""A sandbox is its owner's alone, and ends whatever was done in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from broker.embedded import EmbeddedServer
from broker.engines import ServerUnavailable
from broker.engines.postgres.account import MARK
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import CopyFailed
from broker.engines.postgres.copying.sandbox import (
    Found,
    close_owner,
    create_role,
    create_sandbox,
    drop_sandbox,
    grant_connect,
    grant_use,
    list_sandboxes,
    open_owner,
)
from broker.errors import Invalid
from tests.conftest import admin, new_database
from tests.engines.copying_world import Sandbox, opened_sandbox


@pytest.fixture
def sandbox(test_server: EmbeddedServer) -> Iterator[Sandbox]:
    with opened_sandbox(test_server) as opened:
        yield opened


def find(sandbox: Sandbox) -> Found | None:
    found = [f for f in list_sandboxes(sandbox.account) if f.name == sandbox.new.name]
    return found[0] if found else None


def test_a_sandbox_is_found_by_its_label(sandbox: Sandbox) -> None:
    found = find(sandbox)
    assert found is not None
    assert found.label_text == "sab1 here"


@pytest.mark.parametrize(
    "statement",
    [
        "COMMENT ON DATABASE {name} IS NULL",
        "DROP DATABASE {name}",
        "ALTER DATABASE {name} RENAME TO sab_x_other",
        "ALTER DATABASE {name} CONNECTION LIMIT 0",
        "ALTER ROLE {owner} VALID UNTIL 'infinity'",
        "COMMENT ON ROLE {owner} IS NULL",
        "CREATE ROLE friend",
        "SELECT pg_read_file('/etc/hostname')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x', 'y'",
    ],
)
def test_the_owner_rules_its_objects_and_not_its_database(sandbox: Sandbox, statement: str) -> None:
    text = statement.format(name=sandbox.new.name, owner=sandbox.new.owner)
    with sandbox.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(text.encode())


def test_the_owner_of_one_sandbox_does_not_enter_another(
    sandbox: Sandbox, test_server: EmbeddedServer
) -> None:
    with opened_sandbox(test_server) as other, pytest.raises(ServerUnavailable, match="CONNECT"):
        connect(sandbox.owner, dbname=other.new.name)


def test_nobody_but_the_owner_makes_objects_in_a_sandbox(
    sandbox: Sandbox, test_server: EmbeddedServer
) -> None:
    with admin(test_server, sandbox.new.name) as connection:
        public = "SELECT has_schema_privilege('pg_monitor', 'public', 'CREATE')"
        assert connection.execute(public).fetchone() == (False,)
        enter = "SELECT has_database_privilege('pg_monitor', current_database(), 'CONNECT')"
        assert connection.execute(enter).fetchone() == (False,)


def test_a_closed_owner_has_no_session_and_no_login(sandbox: Sandbox) -> None:
    with sandbox.connect() as connection:
        close_owner(sandbox.account, sandbox.new.owner)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(ServerUnavailable):
        sandbox.connect()
    close_owner(sandbox.account, sandbox.new.owner)


def test_a_password_in_clear_is_never_sent(sandbox: Sandbox) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(Invalid, match="in clear"):
        open_owner(sandbox.account, sandbox.new.owner, "hunter2", end)


def test_a_member_of_the_template_role_reads_writes_and_draws_but_owns_nothing(
    sandbox: Sandbox, test_server: EmbeddedServer
) -> None:
    role = sandbox.new.owner.replace("sab_o_", "sab_u_")
    with sandbox.connect() as connection:
        connection.execute('CREATE SCHEMA "Odd ""one"; CREATE TABLE "Odd ""one".t (i serial)')
        create_role(sandbox.account, role, "sab1 role")
        grant_connect(sandbox.account, sandbox.new.name, role)
        grant_use(connection, role)
    with admin(test_server, sandbox.new.name) as connection:
        connection.execute(f"SET SESSION AUTHORIZATION {role}".encode())
        connection.execute('INSERT INTO "Odd ""one".t DEFAULT VALUES')
        assert connection.execute('DELETE FROM "Odd ""one".t RETURNING i').fetchall() == [(1,)]
        for statement in ('DROP TABLE "Odd ""one".t', 'TRUNCATE "Odd ""one".t'):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
    drop_sandbox(sandbox.account, sandbox.new.name, [role, sandbox.new.owner])
    assert find(sandbox) is None


def test_a_drop_ends_sessions_and_may_be_asked_again(sandbox: Sandbox) -> None:
    with sandbox.connect() as connection:
        drop_sandbox(sandbox.account, sandbox.new.name, [sandbox.new.owner])
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    drop_sandbox(sandbox.account, sandbox.new.name, [sandbox.new.owner])
    assert find(sandbox) is None


def test_a_half_dropped_sandbox_is_found_and_dropped(
    sandbox: Sandbox, test_server: EmbeddedServer
) -> None:
    with admin(test_server) as connection:
        connection.execute(
            "UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", [sandbox.new.name]
        )
    assert find(sandbox) == Found(sandbox.new.name, "sab1 here")
    drop_sandbox(sandbox.account, sandbox.new.name, [sandbox.new.owner])
    assert find(sandbox) is None


def test_what_the_owner_left_in_the_common_database_goes_too(
    sandbox: Sandbox, test_server: EmbeddedServer
) -> None:
    with admin(test_server) as connection:  # a server whose operator left it open to everybody
        connection.execute("GRANT CONNECT ON DATABASE postgres TO PUBLIC")
    with connect(sandbox.owner, dbname="postgres") as connection:
        connection.execute("SELECT lo_from_bytea(0, 'kept')")
    with admin(test_server) as connection:
        connection.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    drop_sandbox(sandbox.account, sandbox.new.name, [sandbox.new.owner])
    with admin(test_server) as connection:
        assert connection.execute("SELECT count(*) FROM pg_largeobject").fetchone() == (0,)
        assert connection.execute(
            "SELECT count(*) FROM pg_roles WHERE rolname = %s", [sandbox.new.owner]
        ).fetchone() == (0,)


def test_a_database_that_is_not_ours_is_never_dropped(
    sandbox: Sandbox, test_server: EmbeddedServer
) -> None:
    name = new_database(test_server)
    with pytest.raises(Invalid):
        drop_sandbox(sandbox.account, name, [])
    with pytest.raises(Invalid):
        drop_sandbox(sandbox.account, sandbox.new.name, ["postgres"])
    assert name in {found.name for found in list_sandboxes(sandbox.account)}


def test_a_name_that_is_taken_is_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(CopyFailed):
        create_sandbox(sandbox.account, sandbox.new)
    again = replace(sandbox.new, owner=sandbox.new.owner + "2")
    with pytest.raises(CopyFailed):
        create_sandbox(sandbox.account, again)
    drop_sandbox(sandbox.account, sandbox.new.name, [again.owner])


def test_an_encoding_of_the_tenant_is_kept(test_server: EmbeddedServer) -> None:
    with opened_sandbox(test_server, "LATIN1") as sandbox, sandbox.connect() as connection:
        assert connection.execute("SHOW server_encoding").fetchone() == ("LATIN1",)


@pytest.fixture
def mark(test_server: EmbeddedServer) -> Iterator[None]:
    """The mark role, as the server's DBA makes it."""
    with admin(test_server) as connection:
        present = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [MARK]).fetchone()
        if present is None:
            connection.execute(f"CREATE ROLE {MARK} NOLOGIN")
        yield
        if present is None:
            connection.execute(f"DROP ROLE {MARK}")


def test_the_owner_carries_the_mark_and_its_label(mark: None, test_server: EmbeddedServer) -> None:
    look = "SELECT pg_has_role(%s, %s, 'MEMBER'), shobj_description(%s::regrole, 'pg_authid')"
    with opened_sandbox(test_server) as sandbox, admin(test_server) as connection:
        owner = sandbox.new.owner
        assert connection.execute(look, [owner, MARK, owner]).fetchone() == (True, "sab1 owner")
