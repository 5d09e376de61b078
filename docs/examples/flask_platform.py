"""A SaaS application's side: lets support in with a token of the broker, while it holds.

    support = Support(issuer, audience, platform_id, secret)
    app.before_request(support.check)      # on what support may read; it sets g.support

It needs flask, httpx and joserfc. What it does and why: docs/platform-tokens.md.
"""

import hashlib
import time

import httpx
from flask import abort, g, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, KeySet

KEYS_KEPT_S = 300  # how long this node keeps the broker's keys
ANSWER_KEPT_S = 30  # how long "it holds" is taken for true: the bound of an end


class Support:
    def __init__(self, issuer: str, audience: str, platform_id: str, secret: str) -> None:
        self.issuer, self.audience, self.clock = issuer, audience, time.time
        self.broker = httpx.Client(base_url=issuer, auth=(platform_id, secret), timeout=5)
        self.keys, self.keys_until = KeySet([]), 0.0
        self.held_until: dict[bytes, float] = {}

    def check(self) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            g.support = self.verify(token if scheme == "Bearer" else "")
        except (JoseError, ValueError, KeyError, httpx.HTTPError):  # the broker's silence is a no
            abort(401)

    def verify(self, token: str) -> dict[str, object]:
        """The claims: sub (your tenant), act.sub (who acts), scope, grant, jti."""
        decoded = jwt.decode(token, self.find_keys, algorithms=["EdDSA"])
        said = decoded.claims
        if decoded.header.get("typ") != "at+jwt" or not {"act", "jti", "exp"} <= set(said):
            raise ValueError
        jwt.JWTClaimsRegistry(
            now=lambda: int(self.clock()),
            leeway=10,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self.audience},
        ).validate(said)
        self.ask(token)
        return said

    def find_keys(self, found: GuestProtocol) -> KeySet:
        known = any(key.kid == found.headers()["kid"] for key in self.keys)
        if not known or self.clock() >= self.keys_until:
            answer = self.broker.get("/oauth/jwks", auth=None).raise_for_status()
            self.keys = KeySet.import_key_set(answer.json())
            self.keys_until = self.clock() + KEYS_KEPT_S
        return self.keys

    def ask(self, token: str) -> None:
        now, name = self.clock(), hashlib.sha256(token.encode()).digest()
        self.held_until = {n: until for n, until in self.held_until.items() if until > now}
        if name in self.held_until:
            return
        answer = self.broker.post("/oauth/introspect", data={"token": token}).raise_for_status()
        if answer.json().get("active") is not True:
            raise ValueError
        self.held_until[name] = now + ANSWER_KEPT_S
