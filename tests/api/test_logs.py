"""A tenant's log by the API: page by page, whole, and without a number that counts others'."""

from __future__ import annotations

from typing import Any

import pytest

from broker.audit.integrate import integrate_all
from broker.tx import system
from tests.api.conftest import Api
from tests.world import add_person

LIMIT = 3


def pages(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        path = f"/tenants/{api.world.tenant}/log/entries?limit={LIMIT}"
        answer = api.get(api.world.admin, path + (f"&cursor={cursor}" if cursor else "")).json
        assert len(answer["items"]) <= LIMIT
        found += answer["items"]
        cursor = answer["next"]
    return found


def test_a_log_is_read_page_by_page_without_a_hole(api: Api) -> None:
    world = api.world
    api.token(world.admin)
    api.ask(world.ticket())
    integrate_all(world.broker.database, world.ports.keys)
    placed = pages(api)
    assert len(placed) > LIMIT
    assert [entry["position"] for entry in placed] == [*reversed(range(len(placed)))]
    with world.as_(system("tests")) as tx:  # two that have no position yet, with one of the rest
        for _ in range(2):
            add_person(tx, "auditor", world.tenant)
    again = pages(api)
    assert [entry["position"] for entry in again[:2]] == [None, None]
    assert again[2:] == placed
    assert not [entry for entry in again if "id" in entry]  # G12: the row's number counts all


@pytest.mark.long
def test_tickets_are_searched_and_requests_are_told_by_who_asked(api: Api) -> None:
    world = api.world
    ticket = world.ticket()
    seen = api.get(world.engineer, "/tickets").json["items"][0]
    for words, found in ((seen["title"][2:9], 1), (seen["external_id"], 1), ("%", 0)):
        items = api.get(world.engineer, f"/tickets?search={words}").json["items"]
        assert len(items) == found, words
    asked = api.ask(ticket).json["id"]
    mine = api.get(world.admin, f"/grants?requester={world.engineer.person_id}").json["items"]
    assert [grant["id"] for grant in mine] == [asked]
    assert not api.get(world.admin, f"/grants?requester={world.admin.person_id}").json["items"]
