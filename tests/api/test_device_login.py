"""RFC 8628 over HTTP: a command line is let in from a browser, by its person, once."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from broker import device_logins
from broker.api.oauth import DEVICE, DEVICE_CLIENT
from broker.device_logins import DeviceLogin
from broker.errors import Conflict, Denied, Invalid, TooMany
from broker.secret import Secret
from broker.tx import Actor, system
from tests.api.conftest import Api


def post(api: Api, path: str, **form: str) -> TestResponse:
    client = api.app.test_client(use_cookies=False)
    return client.post(path, data={"client_id": DEVICE_CLIENT, **form})


def ask(api: Api) -> tuple[str, str]:
    answer = post(api, "/oauth/device_authorization").json
    assert answer["verification_uri"].endswith("/device")
    assert answer["user_code"] not in answer["verification_uri"]
    return answer["device_code"], answer["user_code"]


def poll(api: Api, device: str) -> TestResponse:
    return post(api, "/oauth/token", grant_type=DEVICE, device_code=device)


def move(api: Api, **values: timedelta) -> None:
    """Let time pass: what stands in the table stood there earlier."""
    changes = {name: getattr(DeviceLogin, name) - ago for name, ago in values.items()}
    with api.world.as_(system("tests")) as tx:
        tx.session.execute(sa.update(DeviceLogin).values(**changes))


def test_a_command_line_is_let_in_once_and_as_the_person_who_typed_the_code(api: Api) -> None:
    device, code = ask(api)
    assert poll(api, device).json["error"] == "authorization_pending"
    with api.world.as_(api.world.engineer) as tx:
        device_logins.approve(tx, code.lower().replace("-", " "))
    made = poll(api, device).json
    headers = {"Authorization": f"Bearer {made['access_token']}"}
    me = api.app.test_client().get("/api/v1/me", headers=headers).json
    assert me["id"] == api.world.engineer.person_id
    assert 0 < made["expires_in"] <= 86400
    again = poll(api, device)
    assert (again.status_code, again.json["error"]) == (400, "expired_token")
    with api.world.as_(api.world.engineer) as tx, pytest.raises(Invalid):
        device_logins.approve(tx, code)


def test_what_is_refused_lapsed_or_made_up_gets_nothing(api: Api) -> None:
    device, code = ask(api)
    with api.world.as_(api.world.engineer) as tx:
        device_logins.refuse(tx, code)
        with pytest.raises(Conflict):
            device_logins.approve(tx, code)
    assert poll(api, device).json["error"] == "access_denied"
    device, code = ask(api)
    move(api, expires_at=timedelta(seconds=device_logins.LIVES_S))
    assert poll(api, device).json["error"] == "expired_token"
    with api.world.as_(api.world.engineer) as tx, pytest.raises(Invalid):
        device_logins.approve(tx, code)
    assert poll(api, "made up").json["error"] == "expired_token"
    assert post(api, "/oauth/device_authorization", client_id="other").status_code == 401


def test_who_asks_too_often_waits_longer_each_time(api: Api) -> None:
    device, _ = ask(api)
    assert poll(api, device).json["error"] == "authorization_pending"
    assert poll(api, device).json["error"] == "slow_down"
    move(api, polled_at=timedelta(seconds=device_logins.INTERVAL_S + 1))
    assert poll(api, device).json["error"] == "slow_down"  # ten seconds by now
    move(api, polled_at=timedelta(seconds=60))
    assert poll(api, device).json["error"] == "authorization_pending"


def test_codes_are_not_guessed_and_not_hoarded(api: Api) -> None:
    database, engineer = api.world.broker.database, api.world.engineer
    _, code = ask(api)
    for _ in range(3):  # what is right is no guess
        device_logins.find_waiting(database, engineer, code, "192.0.2.7")
    for _ in range(5):
        with pytest.raises(Invalid):
            device_logins.find_waiting(database, engineer, "BBBB-BBBB", "192.0.2.7")
    with pytest.raises(TooMany):
        device_logins.find_waiting(database, engineer, code, "192.0.2.7")
    answers = [post(api, "/oauth/device_authorization").status_code for _ in range(10)]
    assert answers[-1] == 429


def test_no_token_lets_another_program_in(api: Api) -> None:
    """A stolen token would make itself a new one that outlives it."""
    _, code = ask(api)
    person_id = api.world.engineer.person_id
    with api.world.as_(Actor("vendor", "token", person_id)) as tx, pytest.raises(Denied):
        device_logins.approve(tx, code)


def test_only_digests_of_device_codes_are_kept(api: Api) -> None:
    device, _ = ask(api)
    with api.world.as_(system("tests")) as tx:
        rows = tx.session.scalars(sa.text("SELECT to_jsonb(t)::text FROM device_login t")).all()
    assert rows
    assert not any(Secret(device).reveal() in row for row in rows)
