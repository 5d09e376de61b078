"""Rules of ID tokens and logout tokens. Pure: no network, no clock, no session.

OpenID Connect Core 1.0, sections 2 and 3.1.3.7; Back-Channel Logout 1.0, section 2.6; RFC 8725.
What must stay true: the algorithm is one of ours, never what a token alone asks for; a shared key
signs nothing; whatever is missing or of another type is a refusal, with one word of why.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import extract_compact

from broker.errors import NotAuthenticated
from broker.languages import mark

ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")  # none that shares its key
LEEWAY_S = 60
_OLDEST_S = 600  # an ID token is redeemed at once, a logout token is sent at once
_MOST_CHARACTERS = 1 << 15
_MOST_GROUPS = 1000
_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class TokenRefused(NotAuthenticated):
    """A token does not prove what it must; `why` is a word for the log and the admin."""

    type = "sign-in-refused"

    def __init__(self, why: str) -> None:
        super().__init__(mark("your organisation's sign-in service did not prove who you are"))
        self.why = why


@dataclass(frozen=True, slots=True)
class Expected:
    """`now` is in seconds since 1970, by the control database's clock."""

    issuer: str
    client_id: str
    nonce: str
    now: float
    groups_claim: str = "groups"


@dataclass(frozen=True, slots=True)
class Proven:
    """What an ID token proves; `groups` None where it names none."""

    subject: str
    sid: str | None = None
    auth_time: int | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    groups: tuple[str, ...] | None = None

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """Whose sessions end: those of `sid`, or where there is none all of `subject`, begun before."""

    subject: str | None
    sid: str | None
    before: int


def from_document(document: Mapping[str, Any]) -> Proven:
    lists = {name: document[name] and tuple(document[name]) for name in ("amr", "groups")}
    return Proven(**{**document, **lists, "amr": lists["amr"] or ()})


def key_id_of(token: str) -> str | None:
    """The `kid` that it names, to see whether the keys must be read again."""
    try:
        kid = extract_compact(token.encode("ascii")).headers().get("kid")
    except (JoseError, ValueError, RecursionError):
        raise TokenRefused("form") from None
    return kid if isinstance(kid, str) else None


def verify_id_token(token: str, keys: Mapping[str, Any], expected: Expected) -> Proven:
    """Raises TokenRefused."""
    claims = _open(token, keys)
    _check_for_us(claims, expected.issuer, expected.client_id, expected.now)
    if not _same(claims.get("nonce"), expected.nonce):
        raise TokenRefused("nonce")
    return Proven(
        subject=_text(claims, "sub"),
        sid=_text(claims, "sid") if "sid" in claims else None,
        auth_time=_seconds(claims, "auth_time") if "auth_time" in claims else None,
        acr=_text(claims, "acr") if "acr" in claims else None,
        amr=_texts(claims.get("amr", []), "amr"),
        groups=_groups(claims, expected.groups_claim),
    )


def verify_logout_token(token: str, keys: Mapping[str, Any], expected: Expected) -> LoggedOut:
    """`expected.nonce` is not looked at: such a token must have none. Raises TokenRefused."""
    claims = _open(token, keys)
    _check_for_us(claims, expected.issuer, expected.client_id, expected.now)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(_EVENT), dict):
        raise TokenRefused("events")
    if "nonce" in claims or not _text(claims, "jti"):
        raise TokenRefused("nonce")
    subject = _text(claims, "sub") if "sub" in claims else None
    sid = _text(claims, "sid") if "sid" in claims else None
    if subject is None and sid is None:
        raise TokenRefused("sub")
    return LoggedOut(subject, sid, _seconds(claims, "iat") + LEEWAY_S)


def _open(token: str, keys: Mapping[str, Any]) -> Mapping[str, Any]:
    """The claims, once a key of the service's own verifies them."""
    try:
        return _open_strictly(token, keys)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise TokenRefused("signature") from None


def _open_strictly(token: str, keys: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(token) > _MOST_CHARACTERS:
        raise TokenRefused("size")
    header = extract_compact(token.encode("ascii")).headers()
    if header.get("alg") not in ALGORITHMS or "crit" in header:
        raise TokenRefused("alg")
    return jwt.decode(token, _find_key(keys, header), algorithms=[header["alg"]]).claims


def _find_key(keys: Mapping[str, Any], header: Mapping[str, Any]) -> Any:
    """The one that `kid` names; without a name, the only one there is."""
    known = KeySet.import_key_set({"keys": list(keys["keys"])}).keys
    named = [key for key in known if key.kid == header["kid"]] if "kid" in header else known
    if len(named) != 1:
        raise TokenRefused("kid")
    key = named[0]
    if key.key_type == "oct" or key.alg not in {None, header["alg"]}:
        raise TokenRefused("alg")
    if key.as_dict(private=False).get("use", "sig") != "sig":
        raise TokenRefused("use")
    return key


def _check_for_us(claims: Mapping[str, Any], issuer: str, client_id: str, now: float) -> None:
    """`iss` exactly, us and nobody else in `aud`, us in `azp`, and its times."""
    if claims.get("iss") != issuer:
        raise TokenRefused("iss")
    if claims.get("aud") not in (client_id, [client_id]):
        raise TokenRefused("aud")
    if claims.get("azp", client_id) != client_id:
        raise TokenRefused("azp")
    issued = _seconds(claims, "iat")
    if not issued - LEEWAY_S <= now < _seconds(claims, "exp") + LEEWAY_S:
        raise TokenRefused("exp")
    if now - issued > _OLDEST_S or ("nbf" in claims and _seconds(claims, "nbf") - LEEWAY_S > now):
        raise TokenRefused("iat")


def _groups(claims: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    found = claims.get(name)
    if found is None:
        return None
    return _texts([found] if isinstance(found, str) else found, "groups")


def _texts(found: Any, name: str) -> tuple[str, ...]:
    if not isinstance(found, list) or len(found) > _MOST_GROUPS:
        raise TokenRefused(name)
    if not all(isinstance(one, str) and len(one) <= 256 for one in found):
        raise TokenRefused(name)
    return tuple(found)


def _text(claims: Mapping[str, Any], name: str) -> str:
    """Core 1.0, section 2: a `sub` has 255 ASCII characters at most."""
    found = claims.get(name)
    if not isinstance(found, str) or not 1 <= len(found) <= 255 or not found.isascii():
        raise TokenRefused(name)
    if not found.isprintable():
        raise TokenRefused(name)
    return found


def _seconds(claims: Mapping[str, Any], name: str) -> int:
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1 << 40:
        raise TokenRefused(name)
    return int(found)


def _same(found: Any, expected: str) -> bool:
    return isinstance(found, str) and hmac.compare_digest(found.encode(), expected.encode())


def satisfies(proven: Proven, acr: Collection[str], amr: Collection[str]) -> bool:
    """Whether the proof is as strong as the organisation asks for at a step-up."""
    strong = not acr or proven.acr in acr
    return strong and (not amr or not set(amr).isdisjoint(proven.amr))
