"""`broker databases create --tenancy …`: each form, and what is said of what is wrong."""

from __future__ import annotations

import secrets
from pathlib import Path

from broker.cli.tenancy_options import read_tenancy
from tests.cli.conftest import Desk

KEY = ("--tenant-column", "tenant", "--tenant-type", "integer", "--tenant-key", "7")


def test_parts_are_registered_and_wrong_options_say_what_they_need(
    desk: Desk, tmp_path: Path
) -> None:
    operator = desk.terminal("operator", desk.world.operator)
    secret = tmp_path / "password"
    secret.write_text("a password of the broker's own login there\n")
    secret.chmod(0o600)

    def create(*options: str) -> tuple[str, ...]:
        return (
            *("databases", "create", "--tenant", desk.world.tenant, "--name", "Shop"),
            *("--host", "127.0.0.1", "--dbname", f"shop_{secrets.token_hex(3)}"),
            *("--login", f"sab_broker_{secrets.token_hex(3)}", "--schema", "shop"),
            *("--password-file", str(secret), *options),
        )

    schema = operator.json(*create("--tenancy", "schema"))
    assert schema["tenancy"] == {"form": "schema"}
    rows = operator.json(
        *create("--tenancy", "rows", *KEY),
        *("--table-key", "shop.old=code:text:seven", "--table-key", "shop.new=number"),
        *("--shared-table", "shop.plans"),
    )
    assert rows["tenancy"] == {
        "form": "rows",
        "columns": ["tenant"],
        "type": "integer",
        "value": "7",
        "tables": [
            {"table": "shop.old", "column": "code", "type": "text", "value": "seven"},
            {"table": "shop.new", "column": "number", "type": "integer", "value": "7"},
        ],
        "shared": ["shop.plans"],
    }
    wrong = {
        ("--tenancy", "rows"): "rows need --tenant-column",
        ("--tenancy", "schema", *KEY): "has no key; leave those options out",
        ("--tenancy", "rows", *KEY, "--table-key", "shop.old"): "--table-key is TABLE=COLUMN",
        ("--tenancy", "rows", *KEY, "--table-key", "shop.old=code:text"): "--table-key is",
        ("--tenancy", "rows", *KEY[:4], "--tenant-key", "007"): "a whole number in digits",
    }
    for options, words in wrong.items():
        refused = operator.try_(*create(*options))
        assert refused.exit_code != 0, options
        assert words in " ".join(refused.output.split()), refused.output


def test_what_is_not_said_is_not_sent() -> None:
    bare = {"columns": (), "kind": None, "value": None, "tables": (), "shared": ()}
    assert read_tenancy({"form": "database", **bare}) == {"form": "database"}
