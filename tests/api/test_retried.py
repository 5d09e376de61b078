"""`Idempotency-Key`: a POST that is sent again is done once, and tells nobody else."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from broker import idempotency, signin
from broker.engines.postgres.scram import make_verifier, new_password
from broker.errors import Conflict, Invalid
from broker.tx import Actor, Tx, system
from tests.api.conftest import Api
from tests.world import add_person

KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'


def send(api: Api, actor: Actor, path: str, body: object, key: str = KEY) -> TestResponse:
    headers = {"Authorization": f"Bearer {api.token(actor)}", "Idempotency-Key": key}
    return api.app.test_client(use_cookies=False).post(f"/api/v1{path}", json=body, headers=headers)


def ask(api: Api, **more: Any) -> dict[str, Any]:
    return {
        "ticket": api.world.ticket(external_id="T-1"),
        "database": api.world.database_id,
        "category": "incident",
        "reason": "the customer reports wrong totals",
        "live_s": 3600,
        **more,
    }


def count(api: Api, table: str) -> int:
    with api.world.as_(system("tests")) as tx:
        return int(tx.session.scalar(sa.text(f"SELECT count(*) FROM {table}")) or 0)


def test_a_request_that_is_sent_again_is_done_once(api: Api) -> None:
    engineer, body = api.world.engineer, ask(api)
    first = send(api, engineer, "/grants", body)
    again = send(api, engineer, "/grants", body, KEY.strip('"'))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json == first.json
    assert (again.headers["Idempotency-Replayed"], count(api, "access_grant")) == ("true", 1)
    other = send(api, engineer, "/grants", {**body, "live_s": 60})
    assert (other.status_code, count(api, "access_grant")) == (422, 1)
    assert other.json["type"] == "https://broker.test/problems/idempotency-key-reused"
    for wrong in ("", " ", "a b", "x" * 256, "é"):
        assert send(api, engineer, "/grants", body, wrong).status_code == 422, wrong


@pytest.mark.long
def test_what_failed_leaves_no_key(api: Api) -> None:
    """It changed nothing, so that its retry is a first try."""
    body = ask(api)
    assert send(api, api.world.engineer, "/grants", {**body, "live_s": -1}).status_code == 422
    assert send(api, api.world.admin, "/grants", body).status_code == 403
    assert count(api, "idempotency_key") == 0
    assert send(api, api.world.engineer, "/grants", body).status_code == 201


@pytest.mark.long
def test_another_token_does_not_read_the_answer(api: Api) -> None:
    """G12: keys are of one token; also of the same person another may be allowed less."""
    world = api.world
    with world.as_(system("tests")) as tx:
        other = add_person(tx, "engineer", None)
    body = ask(api)
    mine = send(api, world.engineer, "/grants", body).json["id"]
    theirs = send(api, other, "/grants", body)
    assert "Idempotency-Replayed" not in theirs.headers
    assert theirs.json["id"] != mine


def test_an_answer_with_a_secret_is_kept_nowhere(api: Api) -> None:
    """G11, for the control database too."""
    made = send(api, api.world.admin, "/tokens", {"name": "ci", "days": 1})
    again = send(api, api.world.admin, "/tokens", {"name": "ci", "days": 1})
    assert (made.status_code, again.status_code) == (201, 409)
    assert again.json["type"].endswith("/answer-not-kept")
    with api.world.as_(system("tests")) as tx:
        kept = tx.session.execute(sa.text("SELECT status, answer FROM idempotency_key")).all()
        assert len(signin.list_tokens(Tx(tx.session, tx.at, api.world.admin))) == 2
    assert [tuple(row) for row in kept] == [(201, None)]


@pytest.mark.long
def test_a_key_holds_where_the_answer_is_waited_for(api: Api) -> None:
    world = api.world
    body = {"grant": world.approved(), "verifier": make_verifier(new_password())}
    first = send(api, world.engineer, "/leases", body)
    again = send(api, world.engineer, "/leases", body)
    assert (first.status_code, again.json) == (202, first.json)
    assert count(api, "lease") == 1


@pytest.mark.long
def test_two_at_once_do_it_once(api: Api) -> None:
    """The second comes while the first is at work, whose transaction is open: it is told so."""
    world, body = api.world, ask(api)
    api.token(world.engineer)
    told: list[TestResponse] = []
    with world.as_(world.engineer) as tx:
        token_id = signin.list_tokens(tx)[0].id
        idempotency.begin(tx, token_id, idempotency.read_key(KEY), b"x" * 32)
        other = threading.Thread(
            target=lambda: told.append(send(api, world.engineer, "/grants", body))
        )
        other.start()
        other.join()
        tx.session.rollback()
    assert (told[0].status_code, told[0].headers["Retry-After"]) == (409, "2")
    assert told[0].json["type"].endswith("/idempotency-key-in-use")
    assert send(api, world.engineer, "/grants", body).status_code == 201


@pytest.mark.long
def test_a_key_is_kept_for_a_day_and_its_answer_until_an_erasure(api: Api) -> None:
    world, body = api.world, ask(api)
    assert send(api, world.engineer, "/grants", body).status_code == 201
    key = idempotency.read_key(KEY)
    with world.as_(world.engineer) as tx:
        token_id, request = tx.session.execute(
            sa.text("SELECT token_id, request_digest FROM idempotency_key")
        ).one()
        assert idempotency.begin(tx, token_id, key, request)
        later = Tx(tx.session, tx.at + timedelta(hours=23), tx.actor)
        idempotency.forget_old(later)
        assert idempotency.begin(later, token_id, key, request)
        with pytest.raises(Invalid):
            idempotency.begin(later, token_id, key, b"y" * 32)
        idempotency.forget_answers(tx)
        tx.session.expire_all()
        with pytest.raises(Conflict, match="kept nowhere"):
            idempotency.begin(tx, token_id, key, request)
        after = Tx(tx.session, tx.at + timedelta(hours=25), tx.actor)
        assert idempotency.begin(after, token_id, key, request) is None
        idempotency.forget_old(Tx(tx.session, tx.at + timedelta(hours=50), tx.actor))
        assert not tx.session.scalar(sa.text("SELECT count(*) FROM idempotency_key"))
