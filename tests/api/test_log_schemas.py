"""The schemas of what a log says, as programs get them."""

from __future__ import annotations

from broker import kinds
from tests.api.conftest import Api


def test_they_are_sent_as_json_to_who_may_read(api: Api) -> None:
    answer = api.get(api.world.admin, "/log/schemas")
    assert answer.status_code == 200
    assert answer.json is not None
    assert len(answer.json["oneOf"]) == len(kinds.KINDS)
