"""Whose the rows of a table are: pure rules over small catalogues."""

from __future__ import annotations

from broker.engines import Catalogue, Column, Constraint, Table
from broker.engines.ownership import Whose, find_owned
from broker.tenancy import Tenancy, from_document

ROWS = from_document({"form": "rows", "columns": ["tenant"], "type": "integer", "value": "7"})


def table(name: str, *targets: str, key: str = "", nullable: bool = False) -> Table:
    """A table with an id, perhaps a tenant key (its type), and a foreign key to each target."""
    columns = [Column("id", "integer", "integer", not_null=True)]
    columns += [Column("tenant", key, key, not_null=True)] if key else []
    columns += [Column(f"{t}_id", "integer", "integer", not_null=not nullable) for t in targets]
    keys = [Constraint(f"{name}_{t}", "foreign", (f"{t}_id",), ("s", t), ("id",)) for t in targets]
    return Table("s", name, "table", tuple(columns), tuple(keys))


def whose(*tables: Table, tenancy: Tenancy = ROWS) -> dict[str, Whose]:
    owned = find_owned(Catalogue(170000, tables), tenancy, ["s"])
    return {name: found for (_, name), found in owned.whose.items()}


def targets(found: Whose) -> list[str]:
    return [path.target[1] for path in found.paths]


def test_a_table_without_a_key_follows_every_foreign_key_to_owned_rows() -> None:
    found = whose(
        table("customer", key="integer"), table("order", "customer"),
        table("note", "customer", "order"),
    )  # fmt: skip
    assert targets(found["order"]) == ["customer"]
    assert targets(found["note"]) == ["customer", "order"]


def test_a_circle_is_followed_towards_the_key_alone() -> None:
    found = whose(table("customer", key="integer"), table("a", "b", "customer"), table("b", "a"))
    assert targets(found["a"]) == ["customer"]
    assert targets(found["b"]) == ["a"]


def test_what_nothing_reaches_is_refused_and_so_is_a_circle_of_its_own() -> None:
    found = whose(table("customer", key="integer"), table("a", "b"), table("b", "a"), table("c"))
    assert all("whose its rows are" in found[name].refusal for name in ("a", "b", "c"))


def test_a_key_of_another_type_and_a_shared_table_that_leads_to_tenants_are_refused() -> None:
    shared = from_document({**ROWS.document(), "shared": ["s.kind", "s.log"]})
    found = whose(
        table("customer", key="text"), table("order", key="bigint"), table("kind"),
        table("log", "order"), tenancy=shared,
    )  # fmt: skip
    assert "no integer" in found["customer"].refusal
    assert found["order"].is_part
    assert (found["kind"].refusal, found["kind"].is_part) == ("", False)
    assert "points at s.order" in found["log"].refusal
