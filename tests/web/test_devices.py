"""The page that lets a command line in: what it shows before it asks, and that it warns."""

from __future__ import annotations

from broker import device_logins
from broker.secret import Secret
from broker.tx import system
from tests.web.browser import Browser
from tests.world import World


def asked(world: World) -> tuple[Secret[str], str]:
    with world.as_(system("oauth")) as tx:
        return device_logins.ask(tx, "192.0.2.44")


def take(world: World, device: Secret[str]) -> object:
    with world.as_(system("oauth")) as tx:
        return device_logins.take(tx, device)


def test_a_code_is_looked_at_before_it_is_confirmed(world: World, engineer: Browser) -> None:
    device, code = asked(world)
    assert "would let them in as you" in engineer.page("/device")
    found = engineer.submit("/device", "/device", code=code.lower()).text
    assert "192.0.2.44" in found
    assert "Go on only if you started it yourself" in found
    assert take(world, device) == "authorization_pending"
    done = engineer.act("/device/approve", code=code)
    assert done.status_code == 303
    assert isinstance(take(world, device), tuple)


def test_a_code_can_be_refused_and_a_wrong_one_is_told(world: World, engineer: Browser) -> None:
    device, code = asked(world)
    wrong = engineer.submit("/device", "/device", code="BBBB-BBBB")
    assert wrong.status_code == 422
    assert "no program waits under this code" in wrong.text
    engineer.act("/device/refuse", code=code)
    assert take(world, device) == "access_denied"
