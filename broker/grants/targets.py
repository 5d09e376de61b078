"""Opening a registered server's sealed login, just where it is used."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from broker.addresses import parse_address
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
    target = _target(opener, row, "database", row.dbname)
    return replace(target, standbys=tuple(map(parse_address, row.standbys)))


def server_target(opener: LoginOpener, row: TestServer, dbname: str = "postgres") -> Target:
    """A test server with the broker's own login there."""
    return _target(opener, row, "server", dbname)


def sandbox_target(opener: LoginOpener, row: TestServer, port: int | None) -> Target:
    """The server on which a copy lives: the registered one, or its own on a dedicated host.

    Each cluster there is made for one copy, so none is known beforehand.
    """
    target = server_target(opener, row)
    return target if port is None else replace(target, port=port, cluster=None)


def _target(
    opener: LoginOpener, row: TenantDatabase | TestServer, kind: str, dbname: str
) -> Target:
    context = login_context(kind, row.host, row.port, row.login)
    following = row.next_sealed_password
    return Target(
        host=row.host,
        port=row.port,
        dbname=dbname,
        user=row.login,
        password=opener.open_intake(row.sealed_password, context),
        ca_file=row.ca_file,
        cluster=row.cluster,
        next_password=opener.open_intake(following, context) if following else None,
    )
