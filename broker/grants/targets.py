"""Opening a registered server's sealed login, just where it is used."""

from __future__ import annotations

from typing import Protocol

from broker.engines import Target
from broker.keys.intake import login_context
from broker.secret import Secret
from broker.tenants import TenantDatabase, TestServer


class LoginOpener(Protocol):
    """The one face of the key port that opens logins."""

    def open_intake(self, sealed: bytes, context: bytes) -> Secret[str]:
        """Raises VerificationFailed, KeyUnavailable."""


def live_target(opener: LoginOpener, row: TenantDatabase) -> Target:
    """A tenant's database with our login. Raises VerificationFailed if the row was changed."""
    context = login_context("database", row.host, row.port, row.login)
    password = opener.open_intake(row.sealed_password, context)
    return Target(row.host, row.port, row.dbname, row.login, password, row.ca_file)


def server_target(opener: LoginOpener, row: TestServer, dbname: str = "postgres") -> Target:
    """A test server with the broker's own login there."""
    context = login_context("server", row.host, row.port, row.login)
    password = opener.open_intake(row.sealed_password, context)
    return Target(row.host, row.port, dbname, row.login, password, row.ca_file)
