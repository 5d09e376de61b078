"""How often a token may ask: the rule, and what a client is told of it."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.api.rates import WINDOW_S, Rates, take
from broker.http import create_app
from tests.api.conftest import Api


@given(st.integers(1, 500), st.lists(st.floats(0, 20), max_size=200))
def test_no_window_holds_more_than_what_was_left_and_what_came_back(
    most: int, pauses: list[float]
) -> None:
    now, full_at, taken = 100.0, 0.0, []
    for pause in pauses:
        now += pause
        full_at, left = take(full_at, now, most)
        if not left.come_back_s:
            taken.append(now)
        assert 0 <= left.requests < most
        assert full_at <= now + WINDOW_S + 1e-6
    for start in taken:
        inside = [at for at in taken if start <= at < start + WINDOW_S]
        assert len(inside) <= 2 * most


def test_a_token_has_its_own_requests_and_they_come_back_evenly() -> None:
    rates = Rates(60)
    first = [rates.take("a", 0.0) for _ in range(61)]
    assert [left.requests for left in first if left] == [*range(59, -1, -1), 0]
    assert [left.come_back_s for left in first if left][-2:] == [0, 1]
    other = rates.take("b", 0.0)
    assert other is not None
    assert (other.requests, other.come_back_s) == (59, 0)
    later = [rates.take("a", 1.0) for _ in range(2)]
    assert [left.come_back_s for left in later if left] == [0, 1]
    assert Rates(0).take("a", 0.0) is None


@pytest.mark.long
def test_a_client_is_told_what_it_has_left_and_when_to_come_back(api: Api) -> None:
    broker = api.world.broker
    web = broker.settings.web.model_copy(update={"requests_per_minute": 2})
    settings = broker.settings.model_copy(update={"web": web})
    api.app = create_app(dataclasses.replace(broker, settings=settings))
    answers = [api.get(api.world.admin, "/me") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"token";q=2;w=60'
    assert [answer.headers["RateLimit"][:11] for answer in answers] == [
        *('"token";r=1', '"token";r=0', '"token";r=0')
    ]
    assert answers[2].json["type"].endswith("/too-many")
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 30
    assert api.get(api.world.engineer, "/me").status_code == 200
