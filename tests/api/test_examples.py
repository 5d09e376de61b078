"""The examples on `/api/docs` are taken off the page and run: none of them can be wrong."""

from __future__ import annotations

import html
import json
import re
import shlex
from itertools import pairwise
from pathlib import Path
from string import Template

import pytest

from broker.api.examples import EXAMPLES
from broker.api.problem_types import import_all, list_classes, list_types, write_page
from broker.engines.postgres.scram import make_verifier, new_password
from tests.api.conftest import Api

SHOWN = re.compile(
    r'<h3[^>]* id="([a-z_]+)">(?:(?!<h3).)*?<pre><code>(curl .*?)</code></pre>', re.DOTALL
)


def read_command(text: str, values: dict[str, str]) -> tuple[str, str, object]:
    """Method, path and body of what a shell would send."""
    words = shlex.split(text.replace("$(uuidgen)", "one"))
    method, sent = "GET", None
    for word, following in pairwise(words):
        method = following if word == "-X" else "POST" if word == "--json" else method
        sent = following if word == "--json" else sent
    path = words[-1].removeprefix("$BROKER_URL/api/v1")
    body = None if sent is None else json.loads(Template(sent).substitute(values))
    return method, Template(path).substitute(values), body


@pytest.mark.long
def test_every_example_on_the_page_does_what_it_says(api: Api) -> None:
    world = api.world
    page = api.app.test_client(use_cookies=False).get("/api/docs").text
    shown = {name: html.unescape(text) for name, text in SHOWN.findall(page)}
    assert set(shown) == set(EXAMPLES)
    actors = {"engineer": world.engineer, "admin": world.admin}
    values = {"TENANT": world.tenant, "TICKET": world.ticket(), "DATABASE": world.database_id}
    values["VERIFIER"] = make_verifier(new_password())
    for name, example in EXAMPLES.items():
        method, path, body = read_command(shown[name], values)
        answer = api.send(actors[example.who], method, path, body)
        assert answer.status_code < 300, (name, answer.text)
        assert answer.status_code == 204 or answer.json, name
        values |= {to: answer.json[field] for to, field in example.keeps.items()}
        world.work()
    grants = api.get(world.admin, "/grants").json["items"]
    assert [one["state"] for one in grants] == ["ended"]


def test_every_error_has_its_entry() -> None:
    """A type is stable: one word of it stands for one thing, and says what."""
    import_all()
    words = [kind.type for kind in list_classes()]
    assert len(set(words)) == len(words) > 50, sorted(words)
    assert all(len(one.says) > 10 for one in list_types())
    assert (Path(__file__).parents[2] / "docs" / "problems.md").read_text() == write_page()


def test_the_type_of_an_error_leads_to_what_it_means(api: Api) -> None:
    client = api.app.test_client(use_cookies=False)
    problem = client.get("/api/v1/me").json
    path = "/" + problem["type"].split("/", 3)[3]
    led = client.get(path)
    assert led.status_code == 302
    assert led.headers["Location"].endswith("/api/docs#problem-not-authenticated")
    assert 'id="problem-not-authenticated"' in client.get("/api/docs").text
    assert client.get("/problems/" + "x" * 5).status_code == 302
