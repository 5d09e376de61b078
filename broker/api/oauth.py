"""Tokens for platforms, in the words of OAuth: what a SaaS application and its clients call.

    POST /oauth/device_authorization   RFC 8628  a command line asks to be let in by a person
    POST /oauth/token        RFC 8628  … and asks whether it was
                             RFC 8693  an engineer's API token, exchanged for a platform's;
                                       a CI job's token of its own platform, for one of ours
    POST /oauth/introspect   RFC 7662  does this token hold? asked by the platform itself
    POST /oauth/revoke       RFC 7009  end a token, by whoever holds it
    GET  /oauth/jwks         RFC 7517  the keys that sign
    GET  /.well-known/oauth-authorization-server   RFC 8414

What must stay true: no cookie is read; secrets come in forms and headers, never in addresses (G11);
whatever is not one's own is answered like what does not exist (G12). The web process has no signer:
a worker signs, and seals the token to a key that lives here, in memory, for as long as one request.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from flask import Blueprint, Flask, Response, current_app, g, jsonify, request

from broker import device_logins, enrolling, platforms, signin
from broker.api.operations import check_scope, the_broker
from broker.api.problems import find_status
from broker.api.waiting import wait_for
from broker.bootstrap import Broker
from broker.errors import BrokerError, Denied, Unavailable
from broker.grants import leases, token_keys, tokens
from broker.grants.requests import GrantRefused
from broker.grants.token_steps import CLIENT, SCOPE
from broker.ids import is_id
from broker.keys.intake import open_login, waiting_context
from broker.platforms import Platform
from broker.secret import Secret
from broker.sessions import SignedIn
from broker.tx import Tx, system
from broker.workloads import WorkloadRefused, Workloads

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
DEVICE_CLIENT = "broker-cli"  # public, without a secret: it is no proof of anything
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # a type's name
JWT = "urn:ietf:params:oauth:token-type:jwt"
WAIT_S = 10
WORKLOADS = "broker.workloads"
_MOST = 4096
_UNPRINTABLE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")  # RFC 6749, section 5.2
_ACTOR = system("oauth")
_DEVICE_SAYS = {
    "authorization_pending": "nobody has confirmed it yet",
    "slow_down": "ask less often: wait 5 seconds longer each time",
    "access_denied": "it was refused",
    "expired_token": "the code has lapsed, or was used; ask for another",
}


class OAuthError(BrokerError):
    """An error of RFC 6749, section 5.2; `code` is its `error`."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def register_oauth(app: Flask, broker: Broker) -> Blueprint:
    app.extensions[WORKLOADS] = Workloads(broker.settings.workloads)
    blueprint = Blueprint("oauth", __name__)
    blueprint.add_url_rule("/oauth/token", "token", _answering(make_token), methods=["POST"])
    blueprint.add_url_rule(
        "/oauth/device_authorization", "device", _answering(ask_device), methods=["POST"]
    )
    blueprint.add_url_rule(
        "/oauth/introspect", "introspect", _answering(introspect), methods=["POST"]
    )
    blueprint.add_url_rule("/oauth/revoke", "revoke", _answering(revoke), methods=["POST"])
    blueprint.add_url_rule("/oauth/jwks", "jwks", show_keys)
    blueprint.add_url_rule("/.well-known/oauth-authorization-server", "metadata", show_metadata)
    app.register_blueprint(blueprint)
    return blueprint


def _answering(view: Callable[[], Response]) -> Callable[[], Response]:
    def run() -> Response:
        try:
            return view()
        except BrokerError as error:
            return _error(error)

    return run


def _error(error: BrokerError) -> Response:
    code, status = _code_of(error)
    described = _UNPRINTABLE.sub("'", error.message)[:500]
    answer = jsonify(error=code, error_description=described)
    answer.status_code = status
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Basic realm="broker"'
    return answer


def _code_of(error: BrokerError) -> tuple[str, int]:
    """RFC 6749, section 5.2, and RFC 8693, section 2.2.2."""
    match error:
        case OAuthError():
            return error.code, error.status
        case GrantRefused():
            return "invalid_target", 400
        case Denied():
            return "access_denied", 403
        case Unavailable():
            return "temporarily_unavailable", 503
        case _:
            status = find_status(error)
            return "invalid_request", 400 if status == 422 else status


def ask_device() -> Response:
    """RFC 8628, section 3.2. There is no `verification_uri_complete`: the code is typed."""
    _check_client()
    with the_broker().database.begin(_ACTOR) as tx:
        device, code = device_logins.ask(tx, request.remote_addr or "")
    return jsonify(
        device_code=device.reveal(),
        user_code=code,
        verification_uri=f"{the_broker().settings.web.public_url.rstrip('/')}/device",
        expires_in=device_logins.LIVES_S,
        interval=device_logins.INTERVAL_S,
    )


def make_token() -> Response:
    match _field("grant_type"):
        case grant if grant == DEVICE:
            return take_device()
        case grant if grant == EXCHANGE:
            return exchange()
        case _:
            raise OAuthError("unsupported_grant_type", f"grant_type is {EXCHANGE} or {DEVICE}")


def take_device() -> Response:
    """RFC 8628, sections 3.4 and 3.5: a token of the person who let the program in, once."""
    _check_client()
    with the_broker().database.begin(_ACTOR) as tx:
        found = device_logins.take(tx, Secret(_field("device_code")))
        at = tx.at
    if isinstance(found, str):
        raise OAuthError(found, _DEVICE_SAYS[found])
    token_id, token, expires_at = found
    return jsonify(
        access_token=token.reveal(),
        token_id=token_id,
        token_type="Bearer",  # noqa: S106  # its kind
        expires_in=int((expires_at - at).total_seconds()),
    )


def _check_client() -> None:
    if _field("client_id") != DEVICE_CLIENT:
        raise OAuthError("invalid_client", f"client_id is {DEVICE_CLIENT}", 401)


def exchange() -> Response:
    """An engineer's API token for a token of the platform that `audience` names.

    `scope` may name the grant, where several live ones give this audience.
    """
    if _field("subject_token_type") == JWT:
        return exchange_workload()
    if _field("subject_token_type") != ACCESS_TOKEN:
        raise OAuthError("invalid_request", f"subject_token_type is {ACCESS_TOKEN}")
    if _field("requested_token_type", ACCESS_TOKEN) not in {ACCESS_TOKEN, JWT}:
        raise OAuthError("invalid_request", f"requested_token_type is {ACCESS_TOKEN}")
    if "actor_token" in request.form:
        raise OAuthError("invalid_request", "send no actor_token: who acts is who owns the token")
    g.signed_in, g.opened = _authenticate(Secret(_field("subject_token"))), None
    token, ends_in_s = _make(_field("audience"), _named_grant())
    return jsonify(
        access_token=token.reveal(),
        issued_token_type=ACCESS_TOKEN,
        token_type="Bearer",  # noqa: S106  # its kind
        expires_in=ends_in_s,
        scope=SCOPE,
    )


def exchange_workload() -> Response:
    """A JWT of a platform that the settings trust, for a short and limited token of a program."""
    trusted: Workloads = current_app.extensions[WORKLOADS]
    with the_broker().database.begin(_ACTOR) as tx:
        at = tx.at
    try:
        workload = trusted.verify(_field("subject_token"), at.timestamp())
    except WorkloadRefused as error:
        raise OAuthError("invalid_request", error.message) from None
    with the_broker().database.begin(_ACTOR) as tx:
        token = enrolling.let_workload_in(tx, workload)
    return jsonify(
        access_token=token.reveal(),
        issued_token_type=ACCESS_TOKEN,
        token_type="Bearer",  # noqa: S106  # its kind
        expires_in=workload.lives_s,
        scope=" ".join(sorted(workload.scopes)),
    )


def _named_grant() -> str | None:
    words = [word for word in _field("scope", "").split() if word != SCOPE]
    if len(words) > 1 or any(not is_id(word, "grt") for word in words):
        raise OAuthError("invalid_scope", f"scope is {SCOPE}, or the id of a grant: grt_...")
    return words[0] if words else None


def _field(name: str, default: str | None = None) -> str:
    """A form's field, sent once (RFC 6749, section 3.2). Raises OAuthError."""
    sent = request.form.getlist(name)
    if not sent and default is not None:
        return default
    if len(sent) != 1 or not 0 < len(sent[0]) <= _MOST or "\0" in sent[0]:
        raise OAuthError("invalid_request", f"send {name} once, as a field of a form")
    return sent[0]


def _authenticate(token: Secret[str]) -> SignedIn:
    with the_broker().database.begin(system("api")) as tx:
        found = signin.find_token(tx, token)
    if found is None:
        raise OAuthError(
            "invalid_request",
            "the subject_token is unknown, has lapsed or was ended; sign in again",
        )
    check_scope(found, "lease:issue")
    return found


def _make(audience: str, grant_id: str | None) -> tuple[Secret[str], int]:
    """Ask, wait for the worker, open what it sealed; nobody but this request can."""
    broker, private = the_broker(), X25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    actor = g.signed_in.actor
    with broker.database.begin(actor) as tx:
        lease_id = tokens.ask(tx, audience, grant_id, public, broker.queue)
    wait_for(
        WAIT_S, lambda tx: leases.get_lease(tx, lease_id).state, _is_answered, identity=lease_id
    )
    with broker.database.begin(actor) as tx:
        sealed = tokens.fetch(tx, lease_id)
        lease = leases.get_lease(tx, lease_id)
        if sealed is None:
            leases.end(tx, lease, "nobody waits for it any more", broker.queue)
        ends_in_s = int((lease.ends_at - tx.at).total_seconds())
    if sealed is None:
        raise Unavailable("the token could not be signed in time; try again")
    return open_login(private, sealed, waiting_context(lease_id)), ends_in_s


def _is_answered(state: str) -> bool:
    return state != "pending"


def introspect() -> Response:
    """Whether a token holds now, for the platform that asks; `active: false` for all else."""
    token = Secret(_field("token"))
    with the_broker().database.begin(_ACTOR) as tx:
        platform = _authenticate_platform(tx)
        active = tokens.find_active(tx, token, platform)
    if active is None:
        return jsonify(active=False)
    return jsonify(
        active=True,
        iss=the_broker().settings.web.public_url,
        sub=active.tenant_id,
        act={"sub": active.person_id},
        aud=active.audience,
        client_id=CLIENT,
        scope=SCOPE,
        grant=active.grant_id,
        jti=active.lease_id,
        exp=int(active.ends_at.timestamp()),
        token_type="Bearer",  # noqa: S106  # its kind
    )


def _authenticate_platform(tx: Tx) -> Platform:
    """By HTTP Basic, the platform's id and secret. Raises OAuthError, the same for all."""
    platform_id, secret = _read_basic(request.headers.get("Authorization", ""))
    platform = platforms.find_authenticated(tx, platform_id, secret)
    if platform is None:
        raise OAuthError("invalid_client", "send the platform's id and secret as HTTP Basic", 401)
    return platform


def _read_basic(header: str) -> tuple[str, Secret[str]]:
    scheme, _, encoded = header.partition(" ")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode() if encoded else ""
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    name, _, secret = text.partition(":")
    if scheme.lower() != "basic" or not is_id(name, "plt"):
        return "", Secret(secret)
    return name, Secret(secret)


def revoke() -> Response:
    """End a token; always the same answer, also for one that is void or was never ours."""
    token = Secret(_field("token"))
    with the_broker().database.begin(_ACTOR) as tx:
        tokens.revoke(tx, token, the_broker().queue)
    return Response(status=200)


def show_keys() -> Response:
    """The public keys, newest first; keep them for 5 minutes at most."""
    with the_broker().database.begin(_ACTOR) as tx:
        keys = token_keys.list_published(token_keys.read_keys(tx), tx.at)
    return jsonify(keys=[_jwk(key) for key in keys])


def _jwk(key: token_keys.Key) -> dict[str, Any]:
    """RFC 8037, section 2; `alg` is fixed with the key."""
    x = base64.urlsafe_b64encode(key.public).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": key.kid, "alg": "EdDSA", "use": "sig"}


def show_metadata() -> Response:
    base = the_broker().settings.web.public_url.rstrip("/")
    return jsonify(
        issuer=the_broker().settings.web.public_url,
        token_endpoint=f"{base}/oauth/token",
        device_authorization_endpoint=f"{base}/oauth/device_authorization",
        introspection_endpoint=f"{base}/oauth/introspect",
        revocation_endpoint=f"{base}/oauth/revoke",
        jwks_uri=f"{base}/oauth/jwks",
        response_types_supported=[],
        grant_types_supported=[EXCHANGE, DEVICE],
        token_endpoint_auth_methods_supported=["none"],
        introspection_endpoint_auth_methods_supported=["client_secret_basic"],
        revocation_endpoint_auth_methods_supported=["none"],
        scopes_supported=[SCOPE],
    )
