"""Tokens for platforms over HTTP, with the broker's own processes and two nodes of a SaaS platform
that run the sample of docs/platform-tokens.md. Case 49 of the adversarial list is here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import json
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask, g, jsonify

from broker import lifecycle, signin
from broker.grants import token_keys, tokens
from broker.http import create_app
from broker.keys import TOKEN_KEY
from broker.tx import system
from tests.faults.processes import running
from tests.grants.platforms import Registered, granted, register
from tests.stories import control_superuser, wait_until
from tests.world import World, enrol

SAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "flask_platform.py"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
Signing = Callable[[bytes], bytes]
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


def load_sample() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flask_platform", SAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Node:
    """One process of the SaaS platform: its middleware, and its own clock."""

    url: str
    platform: Registered
    support: Any = field(init=False)
    app: Flask = field(init=False)

    def __post_init__(self) -> None:
        self.support = load_sample().Support(
            self.url, self.platform.audience, self.platform.id, self.platform.secret.reveal()
        )
        self.app = Flask("platform")
        self.app.before_request(self.support.check)
        self.app.add_url_rule("/orders", "orders", lambda: jsonify(by=g.support["act"]["sub"]))

    def ahead(self, seconds: float) -> None:
        """Its clock, and so the age of what it keeps."""
        self.support.clock = lambda: time.time() + seconds

    def lets_in(self, token: str) -> bool:
        headers = {"Authorization": f"Bearer {token}"}
        answer = self.app.test_client().get("/orders", headers=headers)
        assert answer.status_code in {200, 401}
        return answer.status_code == 200


@dataclass
class Running:
    """A broker whose web and worker are processes, and an engineer's client of it."""

    world: World
    url: str
    web: Any
    api_token: str

    def exchange(self, audience: str, **more: str) -> httpx.Response:
        form = {
            "grant_type": EXCHANGE,
            "subject_token": self.api_token,
            "subject_token_type": ACCESS_TOKEN,
            "audience": audience,
        }
        return httpx.post(f"{self.url}/oauth/token", data={**form, **more}, timeout=30)

    def token(self, audience: str) -> str:
        answer = self.exchange(audience)
        assert answer.status_code == 200, answer.text
        made = answer.json()
        assert made["issued_token_type"] == ACCESS_TOKEN
        assert 0 < made["expires_in"] <= tokens.LIFE.total_seconds()
        return str(made["access_token"])


@pytest.fixture
def broker(world: World) -> Iterator[Running]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    settings = {
        "BROKER_WEB__PUBLIC_URL": url,
        "BROKER_WEB__SECRET_KEY": secrets.token_hex(32),
    }
    with world.as_(world.engineer) as tx:
        api_token = signin.create_token(tx, "test", 1)[1].reveal()
    bind = ("--bind", f"127.0.0.1:{port}", "--workers", "1")
    with (
        running(world, "worker", "--queues", "access,sweeps", **settings),
        running(world, "web", *bind, **settings) as web,
    ):
        wait_until(lambda: _answers(url), "the web process answers")
        yield Running(world, url, web, api_token)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def forged(token: str, header: dict[str, object], key: Signing | bytes | None) -> str:
    """The same claims under another header, signed with `key`: Ed25519, HMAC, or not at all."""
    _, payload, _ = token.split(".")
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    message = f"{head}.{payload}".encode()
    match key:
        case None:
            signature = b""
        case bytes():
            signature = hmac.digest(key, message, hashlib.sha256)
        case _:
            signature = key(message)
    return f"{head}.{payload}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # see docs/adr/0015
def test_a_token_lets_in_until_its_grant_ends_at_every_node(broker: Running) -> None:
    """Case 49: refused after the end also where the keys are cached, within the stated bound."""
    world = broker.world
    platform = register(world)
    grant_id = granted(world, platform.id)
    one, two, unheard = (Node(broker.url, platform) for _ in range(3))
    token = broker.token(platform.audience)
    assert one.lets_in(token)
    assert two.lets_in(token)

    _refuses_by_itself(broker, platform, token)

    _rotate(world)
    under_new_key = broker.token(platform.audience)
    assert _kid(under_new_key) != _kid(token)
    for told in (token, under_new_key):  # the old key is kept until its last token is dead
        assert one.lets_in(told)
        assert two.lets_in(told)

    assert (
        httpx.post(f"{broker.url}/oauth/revoke", data={"token": under_new_key}).status_code == 200
    )
    assert not unheard.lets_in(under_new_key)
    assert unheard.lets_in(token)
    with world.as_(world.admin) as tx:
        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
    fresh = Node(broker.url, platform)
    assert not fresh.lets_in(token)  # at once, where nothing was kept
    bound = load_sample().ANSWER_KEPT_S
    assert bound <= 60
    for node in (one, two, unheard):
        node.ahead(bound)
        assert not node.lets_in(token)
    assert broker.exchange(platform.audience).json()["error"] == "invalid_target"

    again = granted(world, platform.id)
    last = broker.token(platform.audience)
    assert one.lets_in(last)
    broker.web.terminate()
    broker.web.wait(30)
    assert one.lets_in(last)  # for as long as the answer is kept
    one.ahead(2 * bound)
    assert not one.lets_in(last)  # and the broker's silence is a no
    assert world.grant(again).state == "approved"


def _refuses_by_itself(broker: Running, platform: Registered, token: str) -> None:
    """What the token itself says is checked, whatever the broker would answer: nobody is asked."""
    world = broker.world
    other_tenant, _ = enrol(world, "Other tenant")
    here, late = Node(broker.url, platform), Node(broker.url, platform)
    elsewhere = Node(broker.url, register(world, other_tenant))
    for node in (here, late, elsewhere):
        node.support.ask = lambda _: None
    assert here.lets_in(token)
    assert not elsewhere.lets_in(token)
    late.ahead((tokens.LIFE + timedelta(seconds=20)).total_seconds())
    assert not late.lets_in(token)
    for forgery in ["", *_forgeries(world, token, here)]:
        assert not here.lets_in(forgery), forgery
    header = {"alg": "EdDSA", "kid": _kid(token), "typ": "at+jwt"}
    assert here.lets_in(forged(token, header, _signing(world, token)))  # the forger's tools work


def _signing(world: World, token: str) -> Signing:
    return lambda message: world.ports.keys.sign(TOKEN_KEY + _kid(token), message)


def _forgeries(world: World, token: str, node: Node) -> list[str]:
    """Algorithms confused, none at all, a key of one's own under a known name, another type."""
    kid = _kid(token)
    public = next(key for key in node.support.keys if key.kid == kid).as_dict()["x"]
    raw = base64.urlsafe_b64decode(public + "=")
    own = Ed25519PrivateKey.generate()
    head, payload, signature = token.split(".")
    changed = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    changed["exp"] += 3600
    longer = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
    return [
        forged(token, {"alg": "none", "kid": kid, "typ": "at+jwt"}, None),
        forged(token, {"alg": "HS256", "kid": kid, "typ": "at+jwt"}, raw),
        forged(token, {"alg": "HS256", "kid": kid, "typ": "at+jwt"}, public.encode()),
        forged(token, {"alg": "EdDSA", "kid": kid, "typ": "at+jwt"}, own.sign),
        forged(token, {"alg": "EdDSA", "kid": kid, "typ": "JWT"}, _signing(world, token)),
        forged(token, {"alg": "EdDSA", "kid": kid}, _signing(world, token)),
        forged(token, {"alg": "EdDSA", "kid": "unknown", "typ": "at+jwt"}, own.sign),
        forged(token, {"alg": "EdDSA", "typ": "at+jwt"}, own.sign),
        f"{head}.{longer}.{signature}",
        f"{head}.{payload}.",
    ]


def _kid(token: str) -> str:
    head = token.split(".", maxsplit=1)[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


def _rotate(world: World) -> None:
    """A month goes by for the key, and then the time in which the next one is announced."""
    set_back = "UPDATE token_key SET made_at = made_at - %s WHERE made_at > now() - %s"
    with control_superuser(world) as connection:
        connection.execute(set_back, (token_keys.ROTATE, token_keys.ROTATE))
        assert token_keys.turn(world.broker.database, world.ports.keys) == 1
        connection.execute(set_back, (token_keys.ANNOUNCE, token_keys.ANNOUNCE))


@dataclass
class Front:
    """The endpoints in this process: for what needs no worker."""

    world: World
    app: Flask
    api_token: str

    def post(self, path: str, form: dict[str, Any], **headers: str) -> Any:
        client = self.app.test_client(use_cookies=False)
        return client.post(f"/oauth/{path}", data=form, headers=headers)


@pytest.fixture
def front(world: World) -> Front:
    with world.as_(world.engineer) as tx:
        api_token = signin.create_token(tx, "test", 1)[1].reveal()
    return Front(world, create_app(world.broker), api_token)


def good(front: Front, audience: str) -> dict[str, Any]:
    return {
        "grant_type": EXCHANGE,
        "subject_token": front.api_token,
        "subject_token_type": ACCESS_TOKEN,
        "audience": audience,
    }


BAD = {
    "unsupported_grant_type": {"grant_type": "password"},
    "invalid_scope": {"scope": "support:write"},
    "invalid_target": {"audience": "https://crm.example/nothing"},
}
INVALID = (
    {"grant_type": ""},
    {"subject_token": "brk_none"},
    {"subject_token": ["brk_a", "brk_b"]},
    {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"},
    {"requested_token_type": "urn:ietf:params:oauth:token-type:saml2"},
    {"actor_token": "brk_other"},
    {"audience": "x" * 5000},
)


def test_what_is_badly_asked_is_refused_in_the_words_of_oauth(front: Front) -> None:
    cases = [*BAD.items(), *(("invalid_request", form) for form in INVALID)]
    for code, form in cases:
        answer = front.post("token", {**good(front, "https://crm.example/nothing"), **form})
        assert (answer.status_code, answer.json["error"]) == (400, code), form
        assert answer.json["error_description"]
        assert front.api_token not in answer.text
    with front.world.as_(system("tests")) as tx:
        assert tx.session.scalar(sa.text("SELECT count(*) FROM lease")) == 0


def test_only_a_platform_is_told_of_tokens_and_every_stranger_the_same(front: Front) -> None:
    """G12: no secret, a wrong one, another's, and none that exists can't be told apart."""
    world = front.world
    mine, other = register(world), register(world)
    pairs = [(mine.id, "brp_none"), (mine.id, other.secret.reveal()), ("plt_" + "a" * 26, "x")]
    answers = [front.post("introspect", {"token": "x"})]
    answers += [front.post("introspect", {"token": "x"}, **basic(*pair)) for pair in pairs]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.data for answer in answers}) == 1
    assert answers[0].headers["WWW-Authenticate"].startswith("Basic")
    known = front.post("introspect", {"token": "x"}, **basic(mine.id, mine.secret.reveal()))
    assert known.json == {"active": False}


def basic(name: str, secret: str) -> dict[str, str]:
    encoded = base64.b64encode(f"{name}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


def test_revoking_answers_the_same_whatever_is_sent(front: Front) -> None:
    answers = [front.post("revoke", {"token": text}) for text in ("x", "a.b.c", front.api_token)]
    assert {(answer.status_code, answer.data) for answer in answers} == {(200, b"")}
    with front.world.as_(front.world.engineer) as tx:
        assert len(signin.list_tokens(tx)) == 1  # an API token is not ended by this door


def test_the_published_set_names_one_algorithm_for_each_key_and_no_private_part(
    front: Front,
) -> None:
    client = front.app.test_client()
    (key,) = client.get("/oauth/jwks").json["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "alg", "use"}
    assert (key["alg"], key["crv"]) == ("EdDSA", "Ed25519")
    told = client.get("/.well-known/oauth-authorization-server").json
    assert told["jwks_uri"] == f"{told['issuer']}/oauth/jwks"


def test_the_sample_stays_short() -> None:
    """About 30 lines of its own, without what it says of itself and imports."""
    assert sys.modules.get("flask_platform") is None
    code = SAMPLE.read_text().split("class Support", 1)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 45
