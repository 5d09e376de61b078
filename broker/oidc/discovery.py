"""What a sign-in service says of itself (OpenID Connect Discovery 1.0), read by a worker.

What must stay true: the document names exactly the issuer that was registered, and its addresses
are https; nothing is read but from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from broker.db import Database
from broker.errors import BrokerError, Invalid, Unavailable
from broker.ids import ProviderId
from broker.languages import mark
from broker.oidc.model import IdentityProvider
from broker.oidc.tokens import ALGORITHMS
from broker.outgoing import Outgoing, Sending, check_url
from broker.tx import system

FRESH = timedelta(hours=1)
AGAIN = timedelta(seconds=60)  # a key that is not known is looked for so often at most
_WORKER = system("worker")
_OK = 200


@dataclass(frozen=True, slots=True)
class Found:
    """`metadata` is what we use of the document: addresses and how the client proves itself."""

    metadata: dict[str, Any]
    keys: dict[str, Any]


def read(outgoing: Outgoing, issuer: str) -> Found:
    """Raises Unavailable, with a sentence for the admin."""
    document = get_json(outgoing, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if document.get("issuer") != issuer:
        raise Unavailable(
            mark("its document names another issuer; register exactly the one it names")
        )
    _check_able(document)
    local = outgoing.allows_local
    named = {
        name: _address(document, name, local=local)
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
    }
    keys = get_json(outgoing, named["jwks_uri"]).get("keys")
    if not isinstance(keys, list):
        raise Unavailable(mark("its keys can't be read"))
    public = [key for key in keys if isinstance(key, dict) and key.get("kty") != "oct"]
    ways = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    metadata = {
        **named,
        "post": "client_secret_basic" not in ways and "client_secret_post" in ways,
        "names_itself": document.get("authorization_response_iss_parameter_supported") is True,
    }
    return Found(metadata, {"keys": public})


def _check_able(document: Mapping[str, Any]) -> None:
    if "code" not in document.get("response_types_supported", ["code"]):
        raise Unavailable(mark("it does not give codes (response type `code`)"))
    if "S256" not in document.get("code_challenge_methods_supported", ["S256"]):
        raise Unavailable(mark("it does not know PKCE with S256"))
    signing = document.get("id_token_signing_alg_values_supported", ALGORITHMS)
    if set(ALGORITHMS).isdisjoint(signing):
        raise Unavailable(f"it signs with none of {', '.join(ALGORITHMS)}")


def _address(document: Mapping[str, Any], name: str, *, local: bool) -> str:
    try:
        return check_url(str(document.get(name, "")), local=local)
    except Invalid:
        raise Unavailable(f"its {name} is no https:// address") from None


def get_json(outgoing: Outgoing, url: str) -> Mapping[str, Any]:
    answer = outgoing.send(Sending("GET", url, {"Accept": "application/json"}))
    if answer.status != _OK:
        raise Unavailable(f"it answered {answer.status} when its description was read")
    return parse_object(answer.content)


def parse_object(content: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Unavailable("what it answered is no JSON object")
    return document


def refresh(database: Database, outgoing: Outgoing, provider_id: str) -> None:
    """Read it again and keep what it says, or why that could not be read."""
    with database.begin(_WORKER) as tx:
        row = tx.session.get(IdentityProvider, provider_id)
        if row is None or row.removed_at is not None:
            return
        issuer = row.issuer
    found, problem = None, None
    try:
        found = read(outgoing, issuer)
    except BrokerError as error:
        problem = error.message
    with database.begin(_WORKER) as tx:
        row = tx.session.get_one(IdentityProvider, provider_id, with_for_update=True)
        row.problem, row.asked_at = problem, tx.at
        if found is not None:
            row.read, row.keys, row.read_at = found.metadata, found.keys, tx.at


def keep_fresh(
    database: Database, outgoing: Outgoing, provider_id: ProviderId, kid: str | None
) -> None:
    """Read it again where that is long ago, or where it has a key `kid` that we do not know."""
    with database.begin(_WORKER) as tx:
        row = tx.session.get_one(IdentityProvider, provider_id)
        known = kid is None or knows(row, kid)
        wanted = AGAIN if not known else FRESH
        due = row.read_at is None or row.read_at <= tx.at - wanted
    if due:
        refresh(database, outgoing, provider_id)


def knows(row: IdentityProvider, kid: str) -> bool:
    return any(key.get("kid") == kid for key in (row.keys or {"keys": []})["keys"])
