"""The contract with home-made ticket systems: its file, and the command that holds one to it."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from broker.cli.tickets import tickets as command
from broker.demo.ticket_source import PROBE, Announcer, make_app
from broker.doctor.ticket_contract import Asked, check
from broker.secret import Secret
from broker.tickets import client, generic
from broker.tickets.generic import GenericTickets
from tests.faults.ticket_desk import BASE, Faults

CONTRACT = json.loads(
    (Path(__file__).parents[1] / "docs" / "ticket-system.openapi.json").read_text()
)
TOKEN = Secret(secrets.token_hex(16))


def reached(desk: Faults) -> httpx.BaseTransport:
    return httpx.WSGITransport(app=desk)  # type: ignore[arg-type]


def of_contract(path: str) -> dict[str, Any]:
    answer = CONTRACT["paths"][path]["get"]["responses"]["200"]
    return answer["content"]["application/json"]["examples"]


def test_the_examples_of_the_contract_are_read_as_they_mean() -> None:
    examples = of_contract("/tickets/{id}")
    answers = {f"/tickets/{one['value']['id']}": one["value"] for one in examples.values()}
    answers["/tickets"] = of_contract("/tickets")["one of two"]["value"]
    told = Faults(lambda _, __: [], {path: ("200 OK", one) for path, one in answers.items()})
    tickets = GenericTickets(BASE, TOKEN, [], PROBE, reached(told))
    least, whole = tickets.find("T-1001"), tickets.find("T-1002")
    assert least is not None
    assert whole is not None
    assert (least.customer, least.closed, least.reopened) == ("acme", False, None)
    assert (whole.closed, whole.severity, whole.category) == (True, "high", "incident")
    assert (whole.reopened, whole.url) == ("2", "https://desk.example/T-1002")
    assert tickets.find_many(["T-1001", "T-1002"]) == {"T-1001": least}


def test_the_contract_names_what_the_adapter_takes() -> None:
    schemas = CONTRACT["components"]["schemas"]
    assert re.compile(schemas["Id"]["pattern"]).pattern == client.ID.pattern.replace(
        r"\A", "^"
    ).replace(r"\Z", "$")
    hook = CONTRACT["webhooks"]["ticket.changed"]["post"]["requestBody"]["content"]
    kind = hook["application/json"]["schema"]["properties"]["type"]["pattern"]
    assert kind == f"^{generic._EVENT.pattern}$"
    refused = CONTRACT["paths"]["/tickets/{id}/comments"]["post"]["responses"]["404"]["description"]
    assert {int(one) for one in re.findall(r"\d{3}", refused)} | {404} == client._NO_COMMENT


@pytest.fixture
def desk() -> Faults:
    faults = Faults(make_app(TOKEN, Announcer(None, None)))
    client = httpx.Client(
        base_url=BASE,
        headers={"Authorization": f"Bearer {TOKEN.reveal()}"},
        transport=reached(faults),
    )
    client.post("/tickets", json={"id": "T-1", "title": "Totals", "customer": "acme"})
    client.post("/tickets/T-1/close")
    return faults


def verdicts(desk: Faults, *, whole: bool = True) -> dict[str, str]:
    more = ("T-1", "T-1") if whole else (None, None)
    return {one.what: one.verdict for one in check(Asked(BASE, TOKEN, PROBE, *more, reached(desk)))}


POINTS = ("a wrong token", "an open ticket", "a ticket that is not there", "a closed ticket")
POINTS += ("several at once", "a comment", "comments shown")


def test_a_system_that_speaks_the_contract_passes_every_point(desk: Faults) -> None:
    assert {name: verdicts(desk)[name] for name in POINTS} == dict.fromkeys(POINTS, "ok")
    left_out = verdicts(desk, whole=False)
    assert (left_out["a closed ticket"], left_out["a comment"]) == ("warn", "warn")


@pytest.mark.parametrize(
    ("path", "status", "document", "point", "verdict"),
    [
        (f"/tickets/{PROBE}", "200 OK", {"id": PROBE, "title": "x"}, "an open ticket", "bad"),
        (f"/tickets/{PROBE}", "404 None", None, "an open ticket", "bad"),
        (f"/tickets/{PROBE}", "302 Found", None, "a wrong token", "bad"),
        ("/tickets/T-1", "404 None", None, "a closed ticket", "bad"),
        ("/tickets", "404 None", None, "several at once", "warn"),
        ("/tickets", "500 Oops", None, "several at once", "bad"),
        ("/tickets/T-1/comments", "405 No", None, "a comment", "warn"),
        (f"/tickets/{PROBE}/comments", "501 No", None, "comments shown", "warn"),
        (f"/tickets/{PROBE}/comments", "200 OK", {"comments": [{}]}, "comments shown", "bad"),
        ("/tickets/T-1/comments", "500 Oops", None, "a comment", "bad"),
    ],
)
def test_each_point_that_does_not_hold_is_told(
    desk: Faults,
    path: str,
    status: str,
    document: dict[str, object] | None,
    point: str,
    verdict: str,
) -> None:
    desk.answers[path] = (status, document)
    assert verdicts(desk)[point] == verdict


def test_the_command_says_what_to_mend_and_exits_9() -> None:
    arguments = ["conformance", "http://127.0.0.1:9", "--ticket", "T-1", "--token-stdin"]
    result = CliRunner().invoke(command, arguments, input="a-token\n")
    assert result.exit_code == 9
    assert "bad  an open ticket: the ticket system did not answer well" in result.output
    assert "→ compare the answer with docs/ticket-system.openapi.json" in result.output
    assert "a-token" not in result.output
