"""Servers of the preflight's own, for its tests open doors in them and start them again."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines import Target
from broker.engines.postgres.account import setup_sql, setup_test_server_sql
from broker.engines.postgres.connect import find_tool
from broker.engines.postgres.preflight import Finding, check_live, check_test_server
from broker.engines.postgres.scram import make_verifier, new_password
from tests.conftest import admin
from tests.engines.registered import SCHEMA, wait_for

SCHEMAS = ("app", "public")
# What a database and a login may be called by somebody who means harm.
HOSTILE = "\"; DROP SCHEMA app CASCADE; --\n'{}%s $$"


@dataclass(frozen=True)
class Checked:
    """A database (or a test server) as it is checked, and its superuser."""

    server: EmbeddedServer
    target: Target
    known: tuple[str, ...] = ()
    is_live: bool = True

    def check(self) -> list[Finding]:
        target = replace(self.target, host=self.server.host)  # a new one after each start
        if self.is_live:
            return check_live(target, SCHEMAS, self.known)
        return check_test_server(target)

    def find(self, code: str) -> Finding | None:
        found = [finding for finding in self.check() if finding.code == code]
        assert len(found) <= 1
        return found[0] if found else None

    def wait_to_find(self, code: str) -> Finding:
        """A changed setting reaches new sessions a moment after the reload."""
        found: list[Finding] = []
        wait_for(lambda: found.extend(f for f in self.check() if f.code == code) or found, code)
        return found[0]

    def wait_until_gone(self, code: str) -> None:
        wait_for(lambda: self.find(code) is None, f"{code} is mended")

    def psql(self, text: str) -> None:
        """Run as a DBA would: in psql, as superuser, statement by statement."""
        done = subprocess.run(  # the tests' own server, and its own words
            [find_tool("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-"],
            input=text,
            env={
                "PGHOST": self.server.host,
                "PGPORT": str(self.server.port),
                "PGUSER": "postgres",
                "PGPASSWORD": self.server.password.reveal(),
                "PGDATABASE": self.target.dbname,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def make(self, statements: str) -> None:
        """`{db}` and `{login}` stand for the names, quoted; `{role}` and `{odd}` for new ones, made
        to break whoever forgets to quote.
        """
        self.psql(self.fill(statements))

    def fill(self, statements: str) -> str:
        names = {
            "{db}": quote(self.target.dbname),
            "{login}": quote(self.target.user),
            "{role}": quote(f'r"; {secrets.token_hex(4)}'),
            "{odd}": quote(f'it\'s; "odd" %s {{}} {secrets.token_hex(4)}'),
        }
        for place, name in names.items():
            statements = statements.replace(place, name)
        return statements


def quote(name: str) -> str:
    return sql.Identifier(name).as_string()


def register_live(server: EmbeddedServer, suffix: str = "") -> Checked:
    """A new database after the setup's SQL; each login that is there now is known."""
    mark = secrets.token_hex(6)
    dbname, user, password = f"t_{mark}{suffix}", f"broker_{mark}{suffix}", new_password()
    with admin(server) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(dbname)))
    with admin(server, dbname) as connection:
        connection.execute(SCHEMA)
        version = connection.info.server_version
        connection.execute(
            setup_sql(dbname, user, make_verifier(password), SCHEMAS, server_version=version)
        )
        logins = connection.execute("SELECT rolname FROM pg_roles WHERE rolcanlogin").fetchall()
    target = Target(server.host, server.port, dbname, user, password)
    return Checked(server, target, tuple(name for (name,) in logins))


def register_test_server(server: EmbeddedServer) -> Checked:
    user, password = f"broker_{secrets.token_hex(6)}", new_password()
    with admin(server) as connection:
        version = connection.info.server_version
        text = setup_test_server_sql(user, make_verifier(password), server_version=version)
        connection.execute(text)
    target = Target(server.host, server.port, "postgres", user, password)
    return Checked(server, target, is_live=False)


def worst(findings: Sequence[Finding]) -> set[str]:
    return {f.code for f in findings if f.severity != "note"}


def check_found_and_mended(place: Checked, code: str, severity: str, condition: str) -> None:
    assert place.find(code) is None
    place.make(condition)
    finding = place.wait_to_find(code)
    assert finding.severity == severity
    assert finding.sql is not None
    place.psql(finding.sql)
    place.wait_until_gone(code)
