"""A backup program as it runs beside the product: its account, its declared backup, its runs."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from werkzeug.test import TestResponse

from broker.engines.postgres.connect import find_tool
from broker.engines.postgres.scram import make_verifier, new_password
from broker.ids import PersonId
from broker.secret import Secret
from broker.tx import Actor
from tests.promises.conftest import Product
from tests.world import connect


@dataclass
class Backups:
    """What the vendor's operator declared, and what its program sends."""

    product: Product
    id: str
    program: Actor
    passwords: dict[str, Secret[str]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"/backups/{self.id}"

    def shown(self) -> dict[str, Any]:
        """What the customer's admin reads of it on their consents."""
        world, path = self.product.world, f"/tenants/{self.product.world.tenant}/consents"
        found = self.product.api.get(world.admin, path).json["items"]
        (shown,) = [one for one in found if one["about"] == self.id]
        return dict(shown)

    def agree(self) -> None:
        body = {"purpose": "regular_backups", "about": self.id}
        body["shown_digest"] = self.shown()["digests"]["fr"]
        world, path = self.product.world, f"/tenants/{self.product.world.tenant}/consents"
        made = self.product.api.post(world.admin, path, body)
        assert made.status_code == 201, made.text

    def withdraw(self) -> TestResponse:
        world = self.product.world
        path = f"/tenants/{world.tenant}/consents/withdraw"
        return self.product.api.post(
            world.admin, path, {"purpose": "regular_backups", "about": self.id}
        )

    def begin(self, actor: Actor | None = None) -> TestResponse:
        password = new_password()
        body = {"verifier": make_verifier(password)}
        answer = self.product.api.post(actor or self.program, f"{self.path}/runs", body)
        if answer.status_code == 202:
            self.passwords[answer.json["id"]] = password
        return answer

    def begun(self) -> dict[str, Any]:
        """A run with its login."""
        answer = self.begin()
        assert answer.status_code == 202, answer.text
        self.product.world.work()
        run = self.run(answer.json["id"])
        assert run["state"] == "issued", run
        return run

    def run(self, run_id: str) -> dict[str, Any]:
        return dict(self.product.api.get(self.program, f"/backup-runs/{run_id}").json)

    def report(self, run_id: str, **said: Any) -> TestResponse:
        return self.product.api.post(self.program, f"/backup-runs/{run_id}/report", said)

    def report_dump(self, run_id: str, dump: bytes) -> TestResponse:
        said = {"bytes": len(dump), "digest": hashlib.sha256(dump).hexdigest()}
        return self.report(run_id, outcome="done", place="s3://backups/invented", **said)

    def environment(self, run: dict[str, Any]) -> dict[str, str]:
        server = self.product.world.live
        return {
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGDATABASE": run["dbname"],
            "PGUSER": run["role"],
            "PGPASSWORD": self.passwords[run["id"]].reveal(),
            "PATH": os.environ["PATH"],
        }

    def dump(self, run: dict[str, Any]) -> bytes:
        """By the real pg_dump; raises CalledProcessError when it is refused."""
        command = [find_tool("pg_dump"), "--schema=crm", "--format=custom"]
        done = subprocess.run(command, env=self.environment(run), check=True, capture_output=True)
        return done.stdout

    def log_in(self, run: dict[str, Any], program: str = "psql") -> psycopg.Connection:
        return psycopg.connect(
            host=self.product.world.live.host,
            port=self.product.world.live.port,
            dbname=run["dbname"],
            user=run["role"],
            password=self.passwords[run["id"]].reveal(),
            application_name=program,
            autocommit=True,
        )

    def unusual(self) -> list[list[str]]:
        """What was told of it, in the customer's log."""
        entries = self.product.world.entries()
        return [
            one["facts"]["what"]
            for one in entries
            if (one["kind"], one["subject"]) == ("backup.unusual", self.id)
        ]


def declare(product: Product, **other: Any) -> Backups:
    """All day, from the server's own machine, unless `other` says otherwise; the DBA's part too."""
    world, api = product.world, product.api
    made = api.post(world.operator, "/services", {"name": "nightly dump"})
    assert made.status_code == 201, made.text
    program = Actor("vendor", "token", PersonId(made.json["id"]))
    body = {
        "database": world.database_id,
        "runner": program.person_id,
        "host": "local",
        "every_s": 86400,
        "opens": "00:00",
        "closes": "00:00",
        "longest_s": 3600,
        "place": "s3://backups/invented",
        "keep_days": 30,
        **other,
    }
    declared = api.post(world.operator, "/backups", body)
    assert declared.status_code == 201, declared.text
    backups = Backups(product, declared.json["id"], program)
    text = api.get(world.operator, f"{backups.path}/setup").json["sql"]
    with connect(world.live, world.crm) as dba:
        dba.execute(text)
    return backups


def restored(dump: bytes, product: Product, folder: Path) -> int:
    """How many of the customer's companies are in a dump, put into a database of its own."""
    file, name = folder / "dump", f"restored_{os.urandom(4).hex()}"
    file.write_bytes(dump)
    server = product.world.live
    with connect(server) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        way = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": "postgres"}
        way["PGPASSWORD"] = server.password.reveal()
        command = [find_tool("pg_restore"), "--no-owner", "--no-acl", "-d", name, str(file)]
        subprocess.run(command, env=way, check=True, capture_output=True)
        with connect(server, name) as connection:
            row = connection.execute("SELECT count(*) FROM crm.companies").fetchone()
        assert row is not None
        return int(row[0])
    finally:
        with connect(server) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def in_two_hours() -> tuple[str, str]:
    """An hour of the day that is not now: (opens, closes)."""
    hour = (datetime.now(UTC).hour + 2) % 24
    return f"{hour:02}:00", f"{(hour + 1) % 24:02}:00"
