"""API tokens: what one looks like, what it may be limited to, and whose it is.

    brk_ + 43 signs (256 random bits, base64url) + 6 signs (CRC-32 of what stands before, base 62)

The checksum is for secret scanners, and lets a mistyped token be refused without a look (the form
is GitHub's). Tokens from before it have 43 signs and hold until their end.

A token may be limited: to scopes, which name what it may do beside reading, and to tenants. None of
the scopes decides anything: to approve, to change people or policies, to make tokens is for people.
What must stay true: a limit is kept with the token and read with it; who makes a limited token
makes no wider one by it.
"""

from __future__ import annotations

import string
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

TOKEN_PREFIX = "brk_"  # noqa: S105  # what secret scanners look for, not a secret
_RANDOM, _CHECK = 43, 6
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase

# What a limited token may do beside reading what its person may read.
SCOPES: Mapping[str, str] = {
    "grant:request": "ask for access, and end what was asked",
    "lease:issue": "ask for logins, sessions and tokens under a grant, and end them",
    "snapshot:order": "order, reset and destroy copies",
    "database:release": "make way for a migration",
    "database:check": "look at a registered server",
    "drill:order": "order drills where they are allowed",
    "backup:run": "run the backups that were declared for it, and report them",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """`scopes` None: all that the person may; empty: reading alone. `tenants` None: all of them."""

    scopes: frozenset[str] | None = None
    tenants: frozenset[str] | None = None


UNLIMITED = Limits()


def with_checksum(random: str) -> str:
    """A token's text around its random part."""
    body = TOKEN_PREFIX + random
    return body + checksum(body)


def checksum(body: str) -> str:
    """Six digits of base 62.

    >>> checksum("brk_")
    '2pihUZ'
    """
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


def may_exist(text: str) -> bool:
    """Whether this can be a token at all: of the older form, or with the right checksum."""
    length = len(text) - len(TOKEN_PREFIX)
    if not text.startswith(TOKEN_PREFIX) or not text.isascii():
        return False
    return length == _RANDOM or (
        length == _RANDOM + _CHECK and checksum(text[:-_CHECK]) == text[-_CHECK:]
    )
