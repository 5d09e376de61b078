"""The URL of a copy, as drivers read it."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from broker.cli.snapshot_env import database_url
from broker.secret import Secret


@pytest.mark.parametrize("host", ["db.example", "::1", "/run/postgresql", "127.0.0.1"])
def test_a_url_says_what_the_variables_say(host: str) -> None:
    variables = {"PGHOST": host, "PGPORT": "5433", "PGDATABASE": "sab_a/b", "PGUSER": "o'brien:@"}
    read = conninfo_to_dict(database_url(variables, Secret("p@ss/:?#% ")))
    assert read == {
        "host": host,
        "port": "5433",
        "dbname": "sab_a/b",
        "user": "o'brien:@",
        "password": "p@ss/:?#% ",
    }


def test_a_url_keeps_the_demand_for_a_verified_server() -> None:
    variables = {"PGHOST": "db.example", "PGPORT": "1", "PGDATABASE": "a", "PGUSER": "b"}
    variables |= {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/a file"}
    read = conninfo_to_dict(database_url(variables, Secret("c")))
    assert (read["sslmode"], read["sslrootcert"]) == ("verify-full", "/a file")
