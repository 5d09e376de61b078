"""The label that everything we make outside the control database carries.

`sab1 <kind> <id> <end> <mac>`: what it is, which of ours, when it must be gone (RFC 3339, UTC,
whole seconds), and an HMAC-SHA-256 over all of it and the place where it stands, so that a label
copied elsewhere or with another end is not ours. It stands as a comment on databases and roles and
as an object in a store's prefix. It holds no secret: everybody on that server may read it.

`broker reap` acts on labels alone (G14); a label whose MAC does not hold is never touched.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from broker.errors import VerificationFailed
from broker.secret import Secret

_TEXT = re.compile(
    r"\Asab1 ([a-z-]+) ([a-z]{3}_[a-z2-7]{26}) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) ([0-9a-f]{64})\Z"
)


OBJECT = "label"  # its name in a store, under the prefix of which it speaks
_INSTANT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Label:
    """`kind` is `lease`, `scope`, `sandbox`, `artifact` or `decoy`; `place` is where it stands."""

    kind: str
    id: str
    end: datetime
    place: str  # role or database name, or store prefix: bound by the MAC, not written out

    def text(self, key: Secret[bytes]) -> str:
        return f"{self._head()} {self._mac(key)}"

    def _head(self) -> str:
        return f"sab1 {self.kind} {self.id} {self.end.astimezone(UTC):{_INSTANT}}"

    def _mac(self, key: Secret[bytes]) -> str:
        message = f"{self._head()}\n{self.place}".encode()
        return hmac.new(key.reveal(), message, hashlib.sha256).hexdigest()


def is_marked(text: str | None) -> bool:
    """Whether `text` looks like a label of ours; says nothing of its truth."""
    return text is not None and text.startswith("sab1 ")


def read_label(text: str, place: str, key: Secret[bytes]) -> Label:
    """Parse a label and check its MAC for the place where it was found.

    Raises VerificationFailed when it is malformed or was not made by us for this place.
    """
    match = _TEXT.match(text)
    if match is None:
        raise VerificationFailed(f"the label on {place!r} is malformed")
    kind, identity, end, mac = match.groups()
    instant = datetime.strptime(end, _INSTANT).replace(tzinfo=UTC)
    label = Label(kind, identity, instant, place)
    if not hmac.compare_digest(label._mac(key), mac):  # noqa: SLF001  # its own class's
        raise VerificationFailed(f"the label on {place!r} was not made by this broker")
    return label
