"""Lists are filtered, sorted and cut alike, and no page skips a thing or shows it twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from broker.api.specification import make_specification
from broker.tx import system
from tests.api.conftest import Api

DOCUMENT = json.loads(make_specification())
BY_POSITION = {"list_entries", "list_events"}  # of a log, whose order is its positions
# What each list is sorted by: table and column.
INSTANTS = {
    "list_tickets": ("ticket", "mirrored_at"),
    "list_grants": ("access_grant", "requested_at"),
    "list_leases": ("lease", "asked_at"),
    "list_snapshots": ("snapshot", "ordered_at"),
    "list_certificates": ("certificate", "issued_at"),
    "list_reviews": ("review", "owed_at"),
    "list_standing": ("standing_approval", "proposed_at"),
}


def paged() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, parameters and fields of an item."""
    schemas = DOCUMENT["components"]["schemas"]
    for methods in DOCUMENT["paths"].values():
        described = methods.get("get", {})
        named = {one["name"]: one for one in described.get("parameters", []) if "name" in one}
        if "cursor" in named and described["operationId"] not in BY_POSITION:
            answer = described["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
            items = schemas[answer.rpartition("/")[2]]["properties"]["items"]["items"]["$ref"]
            fields = schemas[items.rpartition("/")[2]]["properties"]
            yield described["operationId"], named, fields


def test_every_list_with_pages_takes_the_same_words() -> None:
    found = {name: (named, fields) for name, named, fields in paged()}
    assert set(found) == set(INSTANTS)
    for name, (named, fields) in found.items():
        assert {"limit", "cursor", "sort", "since", "until", "tenant", "state"} <= set(named), name
        instant = INSTANTS[name][1]
        assert named["sort"]["schema"]["enum"] == [f"-{instant}", instant], name
        assert {"id", "tenant", instant} <= set(fields), name


def test_each_order_has_an_index(api: Api) -> None:
    """Without it the newest of all tenants are found by sorting all there ever was."""
    with api.world.as_(system("tests")) as tx:
        tx.session.execute(sa.text("SET LOCAL enable_seqscan = off"))
        for table, instant in INSTANTS.values():
            for way in ("", "DESC"):
                query = f"SELECT * FROM {table} ORDER BY {instant} {way}, id {way} LIMIT 51"
                plan = tx.session.scalars(sa.text(f"EXPLAIN {query}")).all()
                assert not any("Sort" in line for line in plan), (table, plan)


def test_pages_hold_each_thing_once_in_both_orders(api: Api) -> None:
    world = api.world
    ticket = world.ticket()
    asked = [api.ask(ticket).json["id"] for _ in range(3)]

    def walk(**query: str) -> list[str]:
        found: list[str] = []
        cursor = None
        while cursor is not None or not found:
            words = "&".join(f"{n}={v}" for n, v in {**query, "cursor": cursor}.items() if v)
            page = api.get(world.admin, f"/grants?limit=1&{words}").json
            found += [item["id"] for item in page["items"]]
            cursor = page["next"]
            if len(found) == 1:
                asked.append(api.ask(ticket).json["id"])  # meanwhile
            if cursor is None:
                break
        return found

    assert walk() == list(reversed(asked[:3]))
    assert walk(sort="requested_at") == asked[:5]
    first = api.get(world.admin, "/grants?limit=1").json
    mixed = api.get(world.admin, f"/grants?sort=requested_at&cursor={first['next']}")
    assert mixed.status_code == 422
    assert "cursor" in mixed.json["fields"]
    second = api.get(world.admin, f"/grants/{asked[1]}").json["requested_at"]
    instant = second.replace("+", "%2B")
    older = api.get(world.admin, f"/grants?sort=requested_at&until={instant}").json["items"]
    younger = api.get(world.admin, f"/grants?sort=requested_at&since={instant}&limit=1").json
    assert [item["id"] for item in older] == asked[:1]
    assert younger["items"][0]["id"] == asked[1]


@pytest.mark.parametrize("query", ["sort=state", "since=yesterday", "state=none", "sorted=x"])
def test_a_filter_or_an_order_that_is_none_is_an_error(api: Api, query: str) -> None:
    assert api.get(api.world.admin, f"/grants?{query}").status_code == 422
