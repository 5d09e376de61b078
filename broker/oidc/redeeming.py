"""A worker redeems a code for an ID token, checks it, and tells what it proves.

What must stay true: a code is tried once; the client's secret goes to the token address of the
issuer it was sealed for, and nowhere else; of the token nothing is kept but what it proves.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote_plus

from broker import bell
from broker.db import Database
from broker.errors import BrokerError, Unavailable
from broker.ids import ProviderId
from broker.keys import Sealer
from broker.keys.intake import answer_context, client_context
from broker.languages import mark
from broker.logs import get_log
from broker.oidc import discovery, tokens
from broker.oidc.model import IdentityProvider, OidcAnswer
from broker.oidc.tokens import Expected, Proven, TokenRefused
from broker.outgoing import Outgoing, Sending
from broker.secret import Secret
from broker.tx import system

_WORKER = system("worker")
_log = get_log(__name__)
NO_ANSWER = "service"  # the word for what is none of the token's own
_NOT_KNOWN = frozenset({"invalid_client", "unauthorized_client"})


@dataclass(frozen=True, slots=True)
class _Work:
    provider: IdentityProvider
    nonce: str
    sealed: bytes
    at: datetime


def redeem(
    database: Database, keys: Sealer, outgoing: Outgoing, redirect_uri: str, answer_id: str
) -> None:
    """The job's function; what went wrong is told to who waits, in one word."""
    work = _take(database, answer_id)
    if work is None:
        return
    proven, problem = None, None
    try:
        proven = _prove(database, keys, outgoing, redirect_uri, (answer_id, work))
    except TokenRefused as error:
        problem = error.why
    except BrokerError as error:
        problem = NO_ANSWER
        _log.warning("sign_in_service_failed", id=work.provider.id, reason=error.message)
    if problem is not None:
        _log.warning("sign_in_refused", id=work.provider.id, why=problem)
    with database.begin(_WORKER) as tx:
        row = tx.session.get(OidcAnswer, answer_id)
        if row is not None:
            row.problem, row.claims = problem, proven.document() if proven else None
            bell.ring(tx, answer_id)


def _take(database: Database, answer_id: str) -> _Work | None:
    with database.begin(_WORKER) as tx:
        row = tx.session.get(OidcAnswer, answer_id, with_for_update=True)
        if row is None or row.sealed is None:
            return None
        sealed, row.sealed = row.sealed, None
        provider = tx.session.get_one(IdentityProvider, row.provider_id)
        if provider.removed_at is not None:
            return None
        tx.session.expunge(provider)
        return _Work(provider, row.nonce, sealed, tx.at)


def _prove(
    database: Database,
    keys: Sealer,
    outgoing: Outgoing,
    redirect_uri: str,
    asked: tuple[str, _Work],
) -> Proven:
    answer_id, work = asked
    provider = work.provider
    opened = json.loads(keys.open_intake(work.sealed, answer_context(answer_id)).reveal())
    secret = None
    if provider.sealed_secret is not None:
        context = client_context(provider.issuer, provider.client_id)
        secret = keys.open_intake(provider.sealed_secret, context)
    form = {
        "grant_type": "authorization_code",
        "code": opened["code"],
        "redirect_uri": redirect_uri,
        "code_verifier": opened["verifier"],
    }
    token = _ask(database, outgoing, provider, _prove_client(provider, secret, form))
    discovery.keep_fresh(database, outgoing, ProviderId(provider.id), tokens.key_id_of(token))
    with database.begin(_WORKER) as tx:
        found = tx.session.get_one(IdentityProvider, provider.id).keys or {"keys": []}
    now = work.at.timestamp()
    expected = Expected(provider.issuer, provider.client_id, work.nonce, now, provider.groups_claim)
    return tokens.verify_id_token(token, found, expected)


def _prove_client(
    provider: IdentityProvider, secret: Secret[str] | None, form: dict[str, str]
) -> Sending:
    """RFC 6749, section 2.3.1: by the header, or in the form where the service takes only that."""
    read = provider.read or {}
    url = str(read.get("token_endpoint", ""))
    headers = {"Accept": "application/json"}
    if secret is None or read.get("post"):
        given = {"client_secret": secret.reveal()} if secret is not None else {}
        return Sending(
            "POST", url, headers, form={**form, "client_id": provider.client_id, **given}
        )
    pair = f"{quote_plus(provider.client_id)}:{quote_plus(secret.reveal())}"
    basic = base64.b64encode(pair.encode()).decode()
    return Sending("POST", url, {**headers, "Authorization": f"Basic {basic}"}, form=form)


def _ask(
    database: Database, outgoing: Outgoing, provider: IdentityProvider, sending: Sending
) -> str:
    """The ID token. Raises Unavailable, TokenRefused; admins read of an unknown client."""
    answer = outgoing.send(sending)
    document = discovery.parse_object(answer.content)
    error = document.get("error")
    if error in _NOT_KNOWN:
        with database.begin(_WORKER) as tx:
            row = tx.session.get_one(IdentityProvider, provider.id)
            row.problem = mark("it does not know our client: look at client id and secret")
    if answer.status != 200 or error is not None:
        raise Unavailable(f"the token address answered {answer.status}")
    token = document.get("id_token")
    if not isinstance(token, str):
        raise TokenRefused("id_token")
    return token
