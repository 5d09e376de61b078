"""SCRAM-SHA-256 verifiers, made where the password is made: in the engineer's CLI or browser.

The broker gets the verifier alone (RFC 5802 section 3, RFC 7677; PostgreSQL's storage form is
`SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, binary parts in base64). What must stay
true: a password never crosses to the broker, and nothing that is not a verifier of full strength
passes `check_verifier`, for PostgreSQL takes any other text as a password in clear.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import string

from broker.errors import Invalid
from broker.secret import Secret

MIN_ITERATIONS = 4096  # RFC 7677 section 4
MAX_ITERATIONS = 100_000  # each login computes them on the tenant's server
SALT_BYTES = 16
_KEY_BYTES = hashlib.sha256().digest_size
_PASSWORD_LENGTH = 32  # of 62 signs: 190 bits
_ALPHABET = string.ascii_letters + string.digits
_B64 = r"([A-Za-z0-9+/]+={0,2})"
_SHAPE = re.compile(rf"SCRAM-SHA-256\$([1-9][0-9]{{3,5}}):{_B64}\${_B64}:{_B64}", re.ASCII)


def new_password() -> Secret[str]:
    """32 ASCII letters and digits: SASLprep (RFC 4013) leaves them as they are."""
    return Secret("".join(secrets.choice(_ALPHABET) for _ in range(_PASSWORD_LENGTH)))


def make_verifier(
    password: Secret[str], *, iterations: int = MIN_ITERATIONS, salt: bytes | None = None
) -> str:
    """What `CREATE ROLE … PASSWORD` takes instead of the password.

    Raises Invalid unless the password is printable ASCII (others would need SASLprep).
    """
    clear = password.reveal()
    if not clear or not clear.isascii() or not clear.isprintable():
        raise Invalid("a password is made of printable ASCII signs")
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", clear.encode(), salt, iterations)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    text = f"SCRAM-SHA-256${iterations}:{_encode(salt)}${_encode(stored_key)}:{_encode(server_key)}"
    check_verifier(text)
    return text


def check_verifier(text: str) -> None:
    """Raise Invalid unless `text` is a verifier of full strength in the one canonical form."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise Invalid("this is no SCRAM-SHA-256 verifier; a password in clear is never taken")
    iterations, salt, stored_key, server_key = match.groups()
    if not MIN_ITERATIONS <= int(iterations) <= MAX_ITERATIONS:
        raise Invalid(f"a verifier has {MIN_ITERATIONS} to {MAX_ITERATIONS} iterations")
    if len(_decode(salt)) < SALT_BYTES:
        raise Invalid(f"a verifier's salt has at least {SALT_BYTES} bytes")
    if len(_decode(stored_key)) != _KEY_BYTES or len(_decode(server_key)) != _KEY_BYTES:
        raise Invalid(f"a verifier's keys have {_KEY_BYTES} bytes each")


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _decode(text: str) -> bytes:
    """Strict: spare bits must be zero, so that a value has one spelling."""
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        value = b""
    if not value or _encode(value) != text:
        raise Invalid("a verifier's parts are canonical base64")
    return value
