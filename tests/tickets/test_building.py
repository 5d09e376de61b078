"""A ticket system that can't be made from the settings stops the start with one sentence."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from broker.errors import SettingsError
from broker.secret import Secret
from broker.settings import Tickets, load_settings
from broker.tickets.building import build_tickets

PROBES = {"generic": "probe", "jira": "SUP-1", "linear": "SUP-1"}
MORE: dict[str, dict[str, Any]] = {
    "gitlab": {"project": "group/support"},
    "glpi": {"user": "broker", "client_id": "c", "client_secret": Secret("s")},
}
GOOD: dict[str, Any] = {"url": "https://desk.example", "token": Secret("token")}


@pytest.mark.parametrize("kind", get_args(Tickets.model_fields["kind"].annotation))
def test_each_kind_is_made_and_named_as_it_is_set(kind: Any) -> None:
    made = build_tickets(
        Tickets(kind=kind, probe=PROBES.get(kind, "1"), **GOOD, **MORE.get(kind, {}))
    )
    assert made is not None
    assert made.name == kind


def test_without_an_address_there_is_none() -> None:
    assert build_tickets(Tickets()) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"token": None}, "BROKER_TICKETS__TOKEN"),
        ({"url": "http://desk.example"}, "https://"),
        ({"token": Secret("two words")}, "token"),
        ({"kind": "zendesk", "probe": "SUP-1"}, "BROKER_TICKETS__PROBE"),
        ({"kind": "jira", "probe": "1"}, "BROKER_TICKETS__PROBE"),
        ({"kind": "jira", "probe": "SUP-1", "customer_field": "A Field"}, "customfield_"),
        ({"customer_field": "project"}, "BROKER_TICKETS__CUSTOMER_FIELD"),
        ({"user": "agent"}, "BROKER_TICKETS__USER"),
        ({"kind": "gitlab", "probe": "1"}, "BROKER_TICKETS__PROJECT"),
        ({"kind": "glpi", "probe": "1", "user": "broker"}, "BROKER_TICKETS__CLIENT_ID"),
        ({"kind": "linear", "probe": "7"}, "BROKER_TICKETS__PROBE"),
        ({"kind": "zendesk", "probe": "1", "webhook_secrets": [Secret("short")]}, "16 characters"),
    ],
)
def test_what_is_missing_bad_or_meant_for_another_is_named(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        build_tickets(Tickets(**{**GOOD, **change}))
    assert "two words" not in str(caught.value)


def test_the_kind_comes_from_the_environment() -> None:
    settings = {"BROKER_CONTROL__DSN": "x", "BROKER_TICKETS__KIND": "jira"}
    assert load_settings(environ=settings).tickets.kind == "jira"
    with pytest.raises(SettingsError, match=r"tickets\.kind is bad"):
        load_settings(environ=settings | {"BROKER_TICKETS__KIND": "another"})
