"""Unmistakable values that are planted in a tenant's database and searched for elsewhere.

A canary stands in a column that must be masked: found outside the tenant's server, it is a leak.
A kept mark stands where its tenant agreed to a true value: found in a copy, it shows that the copy
is one and that the search sees; after destruction it must be gone too.

What must stay true: marks are fresh in each run, so that what an earlier run left is not mistaken
for this one's; and short, because PostgreSQL compresses rows above 2 kB, and a compressed canary is
invisible in a file.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

# Where each kind of canary is planted, by crm.py.
PLACES: Final[Mapping[str, str]] = {
    "company": "crm.companies.name",
    "name": "crm.contacts.last_name",
    "varchar": "crm.contacts.job_title",
    "email": "crm.contacts.email",
    "phone": "crm.contacts.phone",
    "address": "crm.contacts.address",
    "text": "crm.contacts.notes",
    "json-key": "crm.contacts.preferences",
    "json-value": "crm.contacts.preferences",
    "tag": "crm.contacts.tags",
    "login": "crm.users.login_email",
    "password": "crm.users.password_hash",
    "api-key": "crm.users.api_key",
    "ip": "crm.users.last_ip",
    "title": "crm.tickets.title",
    "free-text": "crm.notes.body",
    "note-json": "crm.notes.details",
    "file-name": "crm.attachments.file_name",
    "bytes": "crm.attachments.content",
}
KEPT_IN_COLUMN = "reference"  # stands in crm.orders.reference, which the tenant approves as kept
KEPT_BY_ENGINEER = "engineer"  # planted nowhere: an engineer writes it through a lease or sandbox


@dataclass(frozen=True, slots=True)
class Marks:
    """Kind to value: `canaries` has the kinds of PLACES, `kept` has KEPT_IN_COLUMN and
    KEPT_BY_ENGINEER.
    """

    canaries: Mapping[str, str]
    kept: Mapping[str, str]

    def save(self, path: Path) -> None:
        """Write as JSON, readable by its owner alone. A scan that walks over this file finds it."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o600)  # also when the file was there
            json.dump(asdict(self), file)


def new_marks() -> Marks:
    canaries = {kind: f"CANARY-{secrets.token_hex(8)}-{kind}" for kind in PLACES}
    canaries["phone"] = "999" + "".join(secrets.choice("0123456789") for _ in range(14))
    # A documentation address (RFC 3849) whose groups have no leading zero, so that it has one text.
    groups = (f"{secrets.randbelow(0xF000) + 0x1000:x}" for _ in range(6))
    canaries["ip"] = ":".join(("2001", "db8", *groups))
    kept = {kind: f"KEPT-{secrets.token_hex(8)}" for kind in (KEPT_IN_COLUMN, KEPT_BY_ENGINEER)}
    return Marks(canaries, kept)


def load_marks(path: Path) -> Marks:
    """Read what `Marks.save` wrote."""
    stored = json.loads(path.read_text())
    return Marks(canaries=stored["canaries"], kept=stored["kept"])


def needles(values: Mapping[str, str]) -> dict[str, list[bytes]]:
    """Byte strings to search for, by kind: what `scan` takes."""
    return {kind: forms(value) for kind, value in values.items()}


def forms(value: str) -> list[bytes]:
    """The shapes in which `value` may stand in a file: as it is, upper and lower case, UTF-16LE,
    hexadecimal (bytea as text), base64 within a longer run; an IP address also in binary.

    Base64 that is wrapped in the middle of the value is not found.
    """
    raw = value.encode()
    found = [raw, raw.lower(), raw.upper(), value.encode("utf-16-le")]
    found += [raw.hex().encode(), raw.hex().upper().encode()]
    found += [_base64_core(raw, before) for before in range(3)]
    with contextlib.suppress(ValueError):  # most values are no address
        found.append(ipaddress.ip_address(value).packed)
    return list(dict.fromkeys(found))


def _base64_core(raw: bytes, before: int) -> bytes:
    """The characters that `raw` alone decides when it follows `before` (mod 3) other bytes."""
    encoded = base64.b64encode(bytes(before) + raw)
    first = -(-before * 8 // 6)  # rounded up: a character shared with what stands before is out
    return encoded[first : (before + len(raw)) * 8 // 6]
