"""On the way to a sign-in service and back: what the browser keeps, and the address it is sent to.

State (RFC 6749, 10.12) binds the answer to this browser, the nonce binds the token to this sign-in,
PKCE (RFC 7636) binds the code to it. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from broker.oidc.model import IdentityProvider

ENTER, CONFIRM, LINK, ACCEPT = "enter", "confirm", "link", "accept"


def _random() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Going:
    """`what` for: to enter, confirm again who one is, link the account that is signed in, or accept
    an invitation; `bound_to` is that session's id, or that invitation's.
    """

    provider_id: str
    what: str
    target: str = "/"
    bound_to: str = ""
    state: str = field(default_factory=_random)
    nonce: str = field(default_factory=_random)
    verifier: str = field(default_factory=_random)

    def state_digest(self) -> bytes:
        return hashlib.sha256(self.state.encode()).digest()


def answer_address(public_url: str) -> str:
    """The redirect URI: one for all services, as `state` says whose answer comes."""
    return f"{public_url.rstrip('/')}/sign-in/organisation/answer"


def address(provider: IdentityProvider, going: Going, redirect_uri: str) -> str:
    """Where the browser is sent (Core 1.0, section 3.1.2.1)."""
    challenge = hashlib.sha256(going.verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_uri,
        "scope": "openid",
        "state": going.state,
        "nonce": going.nonce,
        "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    if going.what == CONFIRM:
        asked |= {"prompt": "login", "max_age": "0", **_strength(provider.step_up_acr)}
    endpoint = str((provider.read or {})["authorization_endpoint"])
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"


def _strength(acr: Sequence[str]) -> dict[str, str]:
    return {"acr_values": " ".join(acr)} if acr else {}
