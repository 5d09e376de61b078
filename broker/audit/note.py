"""Signed notes and checkpoints: how a log states its size and root (C2SP signed-note,
tlog-checkpoint).

What must stay true: a note's text is returned only with a valid signature of a key that the caller
brought; a signature by such a key that does not hold refuses the whole note; signatures by others
are passed over, so that keys can change with an overlap. The parser takes one spelling only.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broker.entries import decode_base64, encode_base64
from broker.errors import VerificationFailed

Sign = Callable[[bytes], bytes]

_ED25519 = b"\1"  # the algorithm byte of a plain Ed25519 note signature
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_MAX_SIGNATURES = 16
_SIGNATURE_LINE = re.compile(r"— ([^ ]+) ([A-Za-z0-9+/]+={0,2})")
_SIZE = re.compile(r"0|[1-9][0-9]*")
_MAX_SIZE_DIGITS = 16  # enough for 2^53-1, the largest index that canonical JSON can name


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named public key. Key ids only tell keys apart; they are too short to be trusted."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _is_key_name(self.name) or len(self.public) != _KEY_BYTES:
            raise VerificationFailed("a key has a name without spaces or +, and 32 bytes")

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read `<name>+<key id>+<base64>`. Raises VerificationFailed."""
        parts = text.split("+", 2)  # base64 has + too
        if len(parts) != 3:
            raise VerificationFailed("a verifier key reads <name>+<key id>+<base64>")
        encoded = decode_base64(parts[2])
        if encoded[:1] != _ED25519:
            raise VerificationFailed("this verifier key is not an Ed25519 key")
        key = cls(parts[0], encoded[1:])
        if key.id.hex() != parts[1]:
            raise VerificationFailed("the key id does not belong to this name and key")
        return key

    @property
    def id(self) -> bytes:
        """4 bytes."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    @property
    def hint(self) -> str:
        """Name and key id: enough to look the key up, never to trust it."""
        return f"{self.name}+{self.id.hex()}"

    def format(self) -> str:
        return f"{self.hint}+{encode_base64(_ED25519 + self.public)}"

    def fingerprint(self) -> str:
        """SHA-256 of `format()`, hexadecimal, to be compared through another channel."""
        return hashlib.sha256(self.format().encode()).hexdigest()

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raises VerificationFailed."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            raise VerificationFailed(f"the signature by {self.hint} does not hold") from None

    def checked_signature(self, message: bytes, sign: Sign) -> bytes:
        """Sign, and see that the signature holds: a signer with another key is noticed here.

        Raises VerificationFailed.
        """
        signature = sign(message)
        self.verify(signature, message)
        return signature


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's size and root, as its signer saw them."""

    origin: str
    size: int
    root: bytes


def checkpoint_text(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.origin}\n{checkpoint.size}\n{encode_base64(checkpoint.root)}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a note's text as a checkpoint without extension lines. Raises VerificationFailed."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise VerificationFailed("a checkpoint has three lines")
    origin, size, root = lines[:3]
    if not _is_key_name(origin):
        raise VerificationFailed("a checkpoint's first line names its log")
    if not _SIZE.fullmatch(size) or len(size) > _MAX_SIZE_DIGITS:
        raise VerificationFailed("a checkpoint's size is a plain decimal number")
    return Checkpoint(origin, int(size), decode_base64(root, 32))


def sign_note(text: str, name: str, public: bytes, sign: Sign) -> str:
    """The note: `text`, an empty line and one signature line. Raises VerificationFailed."""
    note = f"{text}\n{signature_line(text, name, public, sign)}"
    open_note(note, [VerifierKey(name, public)])  # a text that no reader would take is not signed
    return note


def signature_line(text: str, name: str, public: bytes, sign: Sign) -> str:
    """One line that can be added to a note of the same text, e.g. by a second key."""
    key = VerifierKey(name, public)
    signature = key.checked_signature(text.encode(), sign)
    return f"— {name} {encode_base64(key.id + signature)}\n"


def open_note(note: str, keys: Sequence[VerifierKey]) -> tuple[str, tuple[VerifierKey, ...]]:
    """The text, and which of `keys` signed it: one at least. Raises VerificationFailed."""
    text, signatures = _split_note(note)
    known = {(key.name, key.id): key for key in keys}
    if len(known) != len(set(keys)):
        raise VerificationFailed("two of the given keys have one name and key id")
    signers: list[VerifierKey] = []
    for name, blob in signatures:
        key = known.get((name, blob[:4]))
        if key is None:
            continue
        if key in signers:
            raise VerificationFailed(f"{key.hint} signed this note twice")
        key.verify(blob[4:], text.encode())
        signers.append(key)
    if not signers:
        raise VerificationFailed("no given key has signed this note")
    return text, tuple(signers)


def list_signatures(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The text, and each signature's name and bytes; nothing is verified. Raises
    VerificationFailed.
    """
    return _split_note(note)


def list_hints(note: str) -> frozenset[str]:
    """Name and key id of each signature, none verified. Raises VerificationFailed."""
    return frozenset(f"{name}+{blob[:4].hex()}" for name, blob in _split_note(note)[1])


def _split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The text with its final newline, and each signature's name and bytes, nothing verified."""
    if any(char != "\n" and unicodedata.category(char) in {"Cc", "Cs"} for char in note):
        raise VerificationFailed("a note holds a control character or half a character")
    head, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise VerificationFailed("a note is a text, an empty line and signature lines")
    lines = tail[:-1].split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise VerificationFailed(f"a note has {_MAX_SIGNATURES} signatures at most")
    return head + "\n", [_parse_signature(line) for line in lines]


def _parse_signature(line: str) -> tuple[str, bytes]:
    match = _SIGNATURE_LINE.fullmatch(line)
    if match is None or not _is_key_name(match[1]):
        raise VerificationFailed("a signature line is malformed")
    blob = decode_base64(match[2])
    if len(blob) <= 4:
        raise VerificationFailed("a signature line holds no signature")
    return match[1], blob


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and name.isprintable() and " " not in name
