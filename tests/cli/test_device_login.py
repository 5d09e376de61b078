"""`broker login`: a code on the terminal, a person in the console, a token in the profile."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from broker import device_logins
from broker.device_logins import DeviceLogin
from broker.tx import system
from tests.cli.conftest import Desk


@pytest.mark.long
@pytest.mark.parametrize("let_in", [True, False])
def test_a_terminal_is_signed_in_from_the_console(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, let_in: bool
) -> None:
    monkeypatch.setattr(device_logins, "INTERVAL_S", 0)
    world, terminal = desk.world, desk.stranger()
    decided = threading.Event()

    def decide() -> None:
        while not decided.wait(0.02):
            with world.as_(world.engineer) as tx:
                code = tx.session.scalar(sa.select(DeviceLogin.user_code))
                if code is not None:
                    (device_logins.approve if let_in else device_logins.refuse)(tx, code)
                    return

    person = threading.Thread(target=decide)
    person.start()
    try:
        result = terminal.try_("login", "--no-browser")
    finally:
        decided.set()
        person.join()
    assert "It is yours alone: send it to nobody" in result.stderr
    if not let_in:
        assert result.exit_code == 4
        return
    assert result.exit_code == 0, result.output
    assert terminal.json("whoami")["id"] == world.engineer.person_id
    with world.as_(system("tests")) as tx:
        assert tx.session.scalar(sa.select(sa.func.count()).select_from(DeviceLogin)) == 0
    terminal.run("logout")
    assert terminal.try_("whoami").exit_code == 3
