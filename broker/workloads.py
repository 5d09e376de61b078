"""Programs that prove themselves by their platform's own tokens (OIDC): they keep no secret.

A CI job has a JWT of its platform that says which job it is. Sent to `POST /oauth/token`
(RFC 8693), it is exchanged for a token of ours that is limited and short. Whom to believe stands in
the settings: issuer, audience, subject, and as which program's account.

What must stay true: nothing is fetched but from an issuer that the settings name; a signature holds
by a key of that issuer, by an algorithm that both are for; who is refused is not told why.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import extract_compact

from broker.errors import BrokerError, SettingsError, Unavailable
from broker.logs import get_log
from broker.settings import Workload

ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")  # none that shares its key
_KEPT_S = 3600  # of keys; a key that was withdrawn verifies no longer than this
_AGAIN_S = 60  # a key that is not known is looked for so often at most
_LEEWAY_S = 60
_MOST_BYTES = 1 << 18
_STEP_S = 5.0
_LOCAL = re.compile(r"http://127\.0\.0\.1:[0-9]+\Z")
_log = get_log(__name__)


class WorkloadRefused(BrokerError):
    """The token proves no program that the settings name."""

    type = "workload-refused"


@dataclass(frozen=True, slots=True)
class _Keys:
    keys: KeySet
    at: float


class Workloads:
    """Safe among threads. `transport` is for tests and for a proxy."""

    def __init__(
        self, trusted: Sequence[Workload], transport: httpx.BaseTransport | None = None
    ) -> None:
        """Raises SettingsError for an issuer that is not reached by TLS."""
        for one in trusted:
            if not (one.issuer.startswith("https://") or _LOCAL.match(one.issuer)):
                raise SettingsError(f"workloads: the issuer {one.issuer!r} begins with https://")
        self._trusted = tuple(trusted)
        self._client = httpx.Client(
            timeout=_STEP_S, follow_redirects=False, trust_env=False, transport=transport
        )
        self._keys: dict[str, _Keys] = {}
        self._lock = threading.Lock()

    def verify(self, token: str, now: float) -> Workload:
        """Whose this is. `now` is in seconds since 1970. Raises WorkloadRefused, Unavailable."""
        try:
            found = self._verify(token, now)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            _log.warning("workload_refused", reason=type(error).__name__)
            found = None
        if found is None:
            raise WorkloadRefused("the subject_token proves no program that is registered here")
        return found

    def _verify(self, token: str, now: float) -> Workload | None:
        sent = extract_compact(token.encode("ascii"))
        header, claimed = sent.headers(), json.loads(sent.payload)
        of_issuer = [one for one in self._trusted if one.issuer == claimed["iss"]]
        if not of_issuer or header["alg"] not in ALGORITHMS:
            return None
        keys = self._find_keys(claimed["iss"], str(header["kid"]))
        key = keys.get_by_kid(str(header["kid"]))
        if key.alg not in {None, header["alg"]} or key.key_type == "oct":
            return None
        claims = jwt.decode(token, key, algorithms=[header["alg"]]).claims
        if not _is_current(claims, now):
            return None
        return next((one for one in of_issuer if is_meant(one, claims)), None)

    def _find_keys(self, issuer: str, kid: str) -> KeySet:
        """Fetched when they are old, and when one is asked for that they do not hold."""
        with self._lock:
            known, now = self._keys.get(issuer), time.monotonic()
            if known is not None and now - known.at < _KEPT_S:
                has_it = any(key.kid == kid for key in known.keys.keys)
                if has_it or now - known.at < _AGAIN_S:
                    return known.keys
            fetched = self._fetch(issuer)
            self._keys[issuer] = _Keys(fetched, now)
            return fetched

    def _fetch(self, issuer: str) -> KeySet:
        """OpenID Connect Discovery 1.0, section 4: its own document, and the keys that it names."""
        document = self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        address = str(document.get("jwks_uri"))
        local = _LOCAL.match(issuer) and address.startswith(f"{issuer}/")
        if document.get("issuer") != issuer or not (address.startswith("https://") or local):
            raise Unavailable(f"{issuer} does not say well where its keys are")
        keys = [one for one in self._get(address).get("keys", []) if one.get("kty") != "oct"]
        return KeySet.import_key_set({"keys": keys})

    def _get(self, address: str) -> Mapping[str, Any]:
        try:
            with self._client.stream("GET", address) as answer:
                content = b""
                for block in answer.iter_bytes():
                    content += block
                    if len(content) > _MOST_BYTES:
                        raise Unavailable(f"{address} sent too much")
                if answer.status_code != httpx.codes.OK:
                    raise Unavailable(f"{address} answered {answer.status_code}")
        except httpx.HTTPError as error:
            raise Unavailable(f"{address} can't be read ({type(error).__name__})") from None
        document = json.loads(content)
        return document if isinstance(document, dict) else {}


def _is_current(claims: Mapping[str, Any], now: float) -> bool:
    """RFC 7519, section 4.1: `exp` must be there."""
    ends, begins = claims["exp"], claims.get("nbf", claims.get("iat", 0))
    return bool(begins - _LEEWAY_S <= now < ends + _LEEWAY_S)


def is_meant(one: Workload, claims: Mapping[str, Any]) -> bool:
    """Whether these claims are for us, and of that program."""
    audience = claims["aud"]
    named: Collection[str] = [audience] if isinstance(audience, str) else audience
    return one.audience in named and matches(one.subject, str(claims["sub"]))


def matches(pattern: str, subject: str) -> bool:
    """`*` stands for anything within one part; parts are divided by `:` and `/`.

    >>> matches("repo:acme/app:ref:refs/heads/*", "repo:acme/app:ref:refs/heads/main")
    True
    >>> matches("repo:acme/*:ref:refs/heads/main", "repo:acme/a:b:ref:refs/heads/main")
    False
    """
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.fullmatch("[^:/]*".join(parts), subject) is not None
