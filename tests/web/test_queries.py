"""No page asks the control database more because there are more customers."""

from __future__ import annotations

import sqlalchemy as sa

from tests.web.browser import Browser
from tests.world import World, enrol

PAGES = ("/", "/databases", "/copies", "/certificates", "/preflight", "/late")


def count(world: World, browser: Browser) -> dict[str, int]:
    """Statements of each page."""
    engine = world.broker.database.engine
    asked: list[object] = []

    def note(*_: object) -> None:
        asked.append(None)

    counted = {}
    sa.event.listen(engine, "before_cursor_execute", note)
    for path in PAGES:
        asked.clear()
        assert browser.get(path).status_code in {200, 403}, path
        counted[path] = len(asked)
    sa.event.remove(engine, "before_cursor_execute", note)
    return counted


def test_pages_ask_as_often_with_ten_customers_as_with_one(world: World, operator: Browser) -> None:
    few = count(world, operator)
    for number in range(9):
        enrol(world, f"Customer {number}")
    assert count(world, operator) == few
