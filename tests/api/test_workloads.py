"""CI jobs and their platforms' tokens: against a small issuer that this file runs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from werkzeug.test import TestResponse

from broker import workloads
from broker.api.oauth import EXCHANGE, JWT, WORKLOADS
from broker.errors import SettingsError
from broker.settings import Workload
from broker.workloads import Workloads
from tests.api.conftest import Api
from tests.api.test_limited_tokens import send

SUBJECT = "repo:acme/app:ref:refs/heads/main"
AUDIENCE = "https://broker.test"


class Issuer:
    """A platform whose jobs have tokens: its keys, and how often they were fetched."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.said_issuer = self.url
        self.fetched = 0
        self.key = self.rotate()

    def rotate(self) -> ECKey:
        kid = f"key-{time.monotonic_ns()}"
        self.key = ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})
        return self.key

    def sign(self, key: Any = None, alg: str = "ES256", **changed: Any) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": SUBJECT, "iat": now, "exp": now + 300}
        claims = {name: value for name, value in {**claims, **changed}.items() if value is not None}
        used = key or self.key
        return jwt.encode({"alg": alg, "kid": used.kid}, claims, used, algorithms=[alg])


@contextmanager
def serving() -> Iterator[Issuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            if self.path == "/keys":
                issuer.fetched += 1
                document: object = {"keys": [issuer.key.as_dict(private=False)]}
            else:
                document = {"issuer": issuer.said_issuer, "jwks_uri": f"{issuer.url}/keys"}
            content = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(server.server_port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving() as one:
        yield one


def trust(api: Api, issuer: Issuer, **more: Any) -> None:
    """The settings name this issuer, for a program of the tenant that reads."""
    made = api.post(api.world.admin, "/services", {"name": "ci", "tenant": api.world.tenant})
    named = {"issuer": issuer.url, "audience": AUDIENCE, "service": made.json["id"]}
    workload = Workload(**{**named, "subject": "repo:acme/app:ref:refs/heads/*", **more})
    api.app.extensions[WORKLOADS] = Workloads([workload])


def exchange(api: Api, token: str) -> TestResponse:
    form = {"grant_type": EXCHANGE, "subject_token_type": JWT, "subject_token": token}
    return api.app.test_client(use_cookies=False).post("/oauth/token", data=form)


def test_a_job_gets_a_short_and_limited_token_of_its_program(api: Api, issuer: Issuer) -> None:
    trust(api, issuer, lives_s=600)
    made = exchange(api, issuer.sign()).json
    assert made["expires_in"] == 600
    assert send(api, made["access_token"], "GET", "/me").json["name"] == "ci (service)"
    denied = send(api, made["access_token"], "POST", "/tokens", {"name": "x", "days": 1})
    assert denied.status_code == 403
    listed = api.get(api.world.admin, f"/people?tenant={api.world.tenant}").json["items"]
    service = next(one["id"] for one in listed if one["service"])
    api.send(api.world.admin, "DELETE", f"/people/{service}/roles?tenant={api.world.tenant}")
    assert exchange(api, issuer.sign()).status_code == 403


def test_what_is_not_meant_for_us_or_not_theirs_is_refused_alike(api: Api, issuer: Issuer) -> None:
    trust(api, issuer)
    now, other = int(time.time()), ECKey.generate_key("P-256", {"kid": issuer.key.kid})
    public = json.dumps(issuer.key.as_dict(private=False))
    secret = OctKey.import_key(public, {"kid": issuer.key.kid})
    tokens = {
        "another audience": issuer.sign(aud="https://elsewhere.test"),
        "another subject": issuer.sign(sub="repo:acme/app:ref:refs/tags/v1"),
        "more parts than the pattern": issuer.sign(sub=f"{SUBJECT}:x"),
        "over": issuer.sign(exp=now - 120),
        "without an end": issuer.sign(exp=None),
        "not yet": issuer.sign(nbf=now + 300),
        "another's key": issuer.sign(key=other),
        "the public key as a secret": issuer.sign(key=secret, alg="HS256"),
        "another issuer": issuer.sign(iss="https://elsewhere.test"),
        "no token": "a.b.c",
        "unsigned": issuer.sign().rpartition(".")[0] + ".",
    }
    answers = {name: exchange(api, token) for name, token in tokens.items()}
    assert {answer.status_code for answer in answers.values()} == {400}
    assert len({answer.text for answer in answers.values()}) == 1, answers
    assert exchange(api, issuer.sign(aud=["x", AUDIENCE])).status_code == 200


def test_keys_are_kept_and_fetched_again_when_they_were_changed(
    api: Api, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(api, issuer)
    before = issuer.sign()
    assert [exchange(api, before).status_code for _ in range(3)] == [200] * 3
    assert issuer.fetched == 1
    issuer.rotate()
    for _ in range(3):  # not for everybody who makes up the name of a key
        assert exchange(api, issuer.sign()).status_code == 400
    assert issuer.fetched == 1
    monkeypatch.setattr(workloads, "_AGAIN_S", 0)
    assert exchange(api, issuer.sign()).status_code == 200
    assert exchange(api, before).status_code == 400  # withdrawn


def test_an_issuer_that_names_another_or_is_weak_is_not_believed(api: Api, issuer: Issuer) -> None:
    trust(api, issuer)
    issuer.said_issuer = "https://elsewhere.test"
    assert exchange(api, issuer.sign()).status_code == 503
    weak = Workload(issuer="http://ci.test", audience="x", subject="x", service="x")
    with pytest.raises(SettingsError, match="https"):
        Workloads([weak])
    rsa = RSAKey.generate_key(2048, {"kid": issuer.key.kid})
    assert exchange(api, issuer.sign(key=rsa, alg="RS256")).status_code in {400, 503}
