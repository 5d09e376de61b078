"""What copies may take on a test server, from its page."""

from __future__ import annotations

from tests.web.browser import Browser
from tests.world import World


def test_an_operator_bounds_a_server_and_an_engineer_does_not(
    operator: Browser, engineer: Browser, world: World
) -> None:
    path = f"/servers/{world.server_id}"
    assert "no bound is set" in operator.page(path)
    assert operator.submit(path, f"{path}/capacity", gigabytes="200").status_code == 303
    assert "of 200.0 GB" in operator.page(path)
    wrong = operator.submit(path, f"{path}/capacity", gigabytes="0.5")
    assert wrong.status_code == 422
    assert "a number of gigabytes" in wrong.text
    assert "of 200.0 GB" in operator.page(path)
    assert f"{path}/capacity" not in engineer.page(path)
    assert engineer.act(f"{path}/capacity", gigabytes="1").status_code == 403
