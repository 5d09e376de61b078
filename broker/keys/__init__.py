"""Port: keys that never lie in the control database nor in its backups.

Two faces, given to different processes: `Sealer` (wrap, unwrap, erase) and `Signer` (sign, public).
The web process has neither. Drivers: `keyring.py` (local files).

A snapshot has a wrapping key of its own, `snapshot/<id>`. Erasing it makes every copy of every
wrapped form useless, also one in an old backup of the control database (G6). An erased name is
remembered and can never be made again.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from broker.errors import BrokerError, Unavailable
from broker.secret import Secret

LOG_KEY = "log"  # signs checkpoints
ML_DSA_KEY = "root/ml-dsa-44"  # cosigns the root log, where it is set; not of the ports below
STATEMENTS_KEY = "statements"  # signs certificates, decisions, ends of access
TOKEN_KEY = "token/"  # noqa: S105  # and a key id: signs platform tokens, comes and goes


class KeyState(Enum):
    LIVE = "live"
    ERASED = "erased"
    ABSENT = "absent"


class KeyErased(BrokerError):
    """The key was erased; nothing wrapped under it can be opened again."""

    type = "key-erased"


class KeyHeld(BrokerError):
    """The key is kept under a legal hold: it opens nothing, and can only be erased."""

    type = "key-held"


class KeyUnavailable(Unavailable):
    """The key port did not answer; nothing is known."""

    type = "key-unavailable"


class Sealer(Protocol):
    """Wraps small secrets (data keys, logins) under named keys with AES-256-GCM or the like.

    `context` is authenticated, not stored: unwrapping with another context fails.
    """

    def create(self, name: str) -> None:
        """Make the key unless it is there. Raises KeyErased if that name was erased."""

    def wrap(self, name: str, secret: Secret[bytes], context: bytes) -> bytes:
        """Raises KeyErased, KeyUnavailable, or NotFound if the key was never made."""

    def unwrap(self, name: str, wrapped: bytes, context: bytes) -> Secret[bytes]:
        """Raises KeyErased, KeyHeld, KeyUnavailable, NotFound, or VerificationFailed."""

    def hold(self, name: str) -> None:
        """Let the key open nothing any more, for ever, without erasing it; idempotent."""

    def erase(self, name: str) -> None:
        """Make the key unusable for ever; idempotent, also for a name never made."""

    def find_state(self, name: str) -> KeyState:
        """A fresh look at the key itself, not at what we remember. Raises KeyUnavailable."""

    def list_names(self, prefix: str) -> list[str]:
        """Names of live keys under `prefix`, by listing. Raises KeyUnavailable."""

    def label_key(self) -> Secret[bytes]:
        """The key of labels' MACs (see `broker.labels`)."""

    def intake_public(self) -> bytes:
        """The public key to which logins are sealed (see `broker.keys.intake`)."""

    def open_intake(self, sealed: bytes, context: bytes) -> Secret[str]:
        """Open a login sealed to `intake_public`. Raises VerificationFailed, KeyUnavailable."""

    def find_mark(self) -> bytes | None:
        """How far the control database had come, kept outside it (see `broker.quarantine`)."""

    def swap_mark(self, old: bytes | None, new: bytes) -> None:
        """Compare-and-swap of the mark. Raises Conflict if `old` is not the last."""


class Signer(Protocol):
    """Ed25519 signatures; `purpose` is LOG_KEY, STATEMENTS_KEY, or TOKEN_KEY with a key id."""

    def public(self, purpose: str) -> bytes:
        """The 32 bytes of the public key."""

    def list_former(self, purpose: str) -> list[bytes]:
        """Public keys that signed for LOG_KEY or STATEMENTS_KEY before the present one.

        From the key port alone: the control database can be written by whom these keys guard
        against. What they signed still holds; nothing signs with them any more.
        """

    def sign(self, purpose: str, message: bytes) -> bytes:
        """64 bytes."""

    def find_next(self, purpose: str) -> bytes | None:
        """The public half of the key that will follow, once it was introduced."""

    def sign_next(self, purpose: str, message: bytes) -> bytes:
        """64 bytes, by that key. Raises KeyUnavailable when there is none."""

    def create_signing(self, purpose: str) -> bytes:
        """Make a key for a purpose that starts with TOKEN_KEY, unless it is there; its public half.

        Raises KeyErased if that purpose's key was erased, KeyUnavailable.
        """

    def erase_signing(self, purpose: str) -> None:
        """Make such a key unusable for ever; idempotent. Raises KeyUnavailable."""

    def find_head(self, origin: str) -> bytes | None:
        """The last checkpoint that was signed for this log, kept outside the control database."""

    def swap_head(self, origin: str, old: bytes | None, new: bytes) -> None:
        """Compare-and-swap of the last signed checkpoint. Raises Conflict if `old` is not last.

        So a control database restored from a backup cannot make us sign a fork.
        """
