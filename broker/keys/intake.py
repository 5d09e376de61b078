"""Sealing a login for the key port, by whoever registers a server.

HPKE (RFC 9180, base mode, X25519, HKDF-SHA256, AES-256-GCM): anyone with the public key can seal,
only the key port can open. So the password of a registered server is clear in the client that typed
it and in the worker that uses it, and nowhere between: not in the web process, not in the control
database. The server's address and login are bound in (`info`), so that a row whose host was changed
can't be opened, and the password is never sent to another host.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from broker.errors import Invalid, VerificationFailed
from broker.secret import Secret

INTAKE_KEY = "intake"
_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def login_context(kind: str, host: str, port: int, login: str) -> bytes:
    """What a sealed login is bound to; `kind` is `database` or `server`."""
    return "\n".join(["broker/login/v1", kind, host, str(port), login]).encode()


def waiting_context(lease_id: str) -> bytes:
    """What a credential is bound to that is sealed to the key of who waits for it."""
    return f"broker/waiting/v1\n{lease_id}".encode()


def client_context(issuer: str, client_id: str) -> bytes:
    """What the secret of our client at a sign-in service is bound to: it goes nowhere else."""
    return f"broker/oidc-client/v1\n{issuer}\n{client_id}".encode()


def answer_context(answer_id: str) -> bytes:
    """What the code of a sign-in is bound to, until a worker redeems it."""
    return f"broker/oidc-answer/v1\n{answer_id}".encode()


def webhook_context(webhook_id: str) -> bytes:
    """What address and secrets of a webhook are bound to."""
    return f"broker/webhook/v1\n{webhook_id}".encode()


def seal_login(public: bytes, password: Secret[str], context: bytes) -> bytes:
    """Raises Invalid when `public` is not 32 bytes of an X25519 key."""
    try:
        key = X25519PublicKey.from_public_bytes(public)
    except ValueError:
        raise Invalid("the broker's public key for logins is malformed") from None
    return _SUITE.encrypt(password.reveal().encode(), key, context)


def open_login(private: X25519PrivateKey, sealed: bytes, context: bytes) -> Secret[str]:
    """Raises VerificationFailed when it was changed, or sealed for another server or key."""
    try:
        return Secret(_SUITE.decrypt(sealed, private, context).decode())
    except (InvalidTag, ValueError):
        raise VerificationFailed(
            "the sealed login does not open for this server; register its login again"
        ) from None
