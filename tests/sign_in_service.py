"""A small OpenID provider that the tests run on loopback: it plays the protocol, with no people.

Whoever comes to its authorization address is the subject that the test set. What it signs can be
bent by the test (`claims`), to see each lie refused. The real one is in `tests/system`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

from broker.directories import registering
from broker.oidc import providers
from broker.oidc.providers import Client, Rules
from broker.secret import Secret
from broker.webhooks import registering as webhooks
from broker.webhooks.registering import NewWebhook
from tests.world import World

CLIENT_ID, CLIENT_SECRET = "support-broker", "a secret: of +ours"
EVENT = "http://schemas.openid.net/event/backchannel-logout"


def new_key() -> ECKey:
    kid = secrets.token_hex(4)
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})


@dataclass
class Service:
    """`claims` are put over those of the next tokens; None takes one away."""

    url: str
    key: ECKey = field(default_factory=new_key)
    subject: str = "ada-0001"
    claims: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, dict[str, str]] = field(default_factory=dict)  # code -> what was asked for it
    last: dict[str, str] = field(default_factory=dict)
    tokens: int = 0

    def document(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def authorize(self, address: str) -> str:
        """What a browser does there: sent with the broker's request, it comes back by this path."""
        asked = self.last = dict(parse_qsl(urlsplit(address).query))
        assert asked["client_id"] == CLIENT_ID
        assert asked["scope"].split()[0] == "openid"
        code = secrets.token_urlsafe(16)
        self.asked[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.url}
        return f"{urlsplit(asked['redirect_uri']).path}?{urlencode(back)}"

    def redeem(self, form: dict[str, str], basic: str) -> dict[str, str] | None:
        """RFC 6749, 4.1.3, and RFC 7636, 4.6; None for what does not hold."""
        name, _, secret = base64.b64decode(basic).decode().partition(":")
        asked = self.asked.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        known = (unquote_plus(name), unquote_plus(secret)) == (CLIENT_ID, CLIENT_SECRET)
        if not known or asked is None or asked["code_challenge"] != challenge:
            return None
        if form["redirect_uri"] != asked["redirect_uri"]:
            return None
        self.tokens += 1
        return {"id_token": self.id_token(asked["nonce"]), "token_type": "Bearer"}

    def id_token(self, nonce: str) -> str:
        now = int(time.time())
        return self.sign(
            {
                "iss": self.url,
                "aud": CLIENT_ID,
                "sub": self.subject,
                "nonce": nonce,
                "iat": now,
                "exp": now + 300,
                "auth_time": now,
                "sid": f"session of {self.subject}",
                "email": "somebody.else@vendor.test",  # nobody is found by it
                "email_verified": True,
                **self.claims,
            }
        )

    def logout_token(self, **changed: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": self.subject,
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_hex(8),
            "events": {EVENT: {}},
        }
        return self.sign({**claims, **changed})

    def sign(self, claims: dict[str, Any], key: Any = None, alg: str = "ES256") -> str:
        said = {name: value for name, value in claims.items() if value is not None}
        used = key or self.key
        return jwt.encode({"alg": alg, "kid": used.kid}, said, used, algorithms=[alg])


def register_service(world: World) -> str:
    """Of the world's tenant, at an address where nobody listens."""
    client = Client("https://login.example", CLIENT_ID, None)
    with world.as_(world.admin) as tx:
        rules = Rules("Directory")
        return providers.register(tx, world.tenant, client, rules, world.broker.queue, local=False)


def register_directory(world: World) -> str:
    with world.as_(world.admin) as tx:
        return registering.register(tx, world.tenant, "Directory", "auditor")[0].id


def register_webhook(world: World) -> str:
    """At an address where nobody listens."""
    new = NewWebhook("Ours", Secret("https://hook.example/x"))
    with world.as_(world.admin) as tx:
        return webhooks.register(tx, world.tenant, new, local=False)[0].id


@contextmanager
def serving() -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            match self.path:
                case "/.well-known/openid-configuration":
                    self._answer(service.document())
                case "/keys":
                    self._answer({"keys": [service.key.as_dict(private=False)]})
                case _:
                    self._answer({"error": "not here"}, 404)

        def do_POST(self) -> None:  # the library's name
            length = int(self.headers["Content-Length"])
            form = dict(parse_qsl(self.rfile.read(length).decode()))
            basic = self.headers.get("Authorization", "").removeprefix("Basic ")
            given = service.redeem(form, basic)
            self._answer(given or {"error": "invalid_grant"}, 200 if given else 400)

        def _answer(self, document: object, status: int = 200) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service = Service(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
