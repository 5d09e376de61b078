"""The root log: one log of all logs, so that no tenant can be shown a private fork.

An epoch is a tree of 16,384 slots. Each log has one slot for good; its leaf is a keyed digest of
the epoch's number and of the log's checkpoint, under a key that its tenant alone is given. A slot
that nobody has holds a digest under a key that nobody is given: the two can't be told apart, so a
tenant learns neither the others' names nor number nor whether they did anything. The epoch's root
is an entry of the root log, and that log alone is shown to witnesses.

Pure: bytes in, bytes or a verdict out. `broker_verify/verify_root.py` is the same, written apart.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from broker.audit.merkle import leaf_hash, node_hash, verify_inclusion
from broker.audit.note import VerifierKey, open_note, parse_checkpoint
from broker.entries import (
    Entry,
    Json,
    canonical,
    decode_base64,
    encode_base64,
    get_text,
    parse_canonical,
    parse_entry,
)
from broker.errors import VerificationFailed

HEIGHT = 14
SLOTS = 1 << HEIGHT
BLIND_BYTES = 32
SEALED = "epoch.sealed"
_FIELDS = {"blind", "checkpoint", "entry", "hashes", "proof", "size", "slot"}


def root_origin(origin: str) -> str:
    """The name of the root log that goes with the log `origin`: one a vendor."""
    return f"{origin.partition('/')[0]}/root"


def slot_leaf(slot: int, epoch: int, blind: bytes, text: bytes) -> bytes:
    """The leaf hash of a slot; `text` is the checkpoint's, without its signatures, or empty."""
    said = hmac.digest(blind, epoch.to_bytes(8, "big") + text, "sha256")
    return leaf_hash(b"broker/slot/v1\0" + slot.to_bytes(8, "big") + said)


def text_of(note: str) -> bytes:
    """What is signed in a note: all up to its empty line."""
    return (note.rpartition("\n\n")[0] + "\n").encode()


@dataclass(frozen=True, slots=True)
class Taken:
    """A slot that a log has, with the last checkpoint of that log."""

    slot: int
    blind: bytes
    note: str


class EpochTree:
    """The tree of one epoch. `dummy` is the key of the slots that nobody has."""

    def __init__(self, epoch: int, dummy: bytes, taken: Sequence[Taken]) -> None:
        leaves = [slot_leaf(slot, epoch, dummy, b"%d" % slot) for slot in range(SLOTS)]
        for one in taken:
            leaves[one.slot] = slot_leaf(one.slot, epoch, one.blind, text_of(one.note))
        self._rows = [leaves]
        while len(self._rows[-1]) > 1:
            row = self._rows[-1]
            self._rows.append([node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)])

    @property
    def root(self) -> bytes:
        return self._rows[-1][0]

    def prove(self, slot: int) -> tuple[bytes, ...]:
        """The hashes from the slot's neighbour up."""
        return tuple(row[(slot >> up) ^ 1] for up, row in enumerate(self._rows[:-1]))


@dataclass(frozen=True, slots=True)
class Place:
    """That a log's checkpoint of `size` entries stands in its slot of an epoch of the root log.

    `hashes` lead from the slot to the epoch's root, `proof` from the epoch's entry to the root in
    `checkpoint`, a note of the root log.
    """

    slot: int
    blind: bytes
    size: int
    hashes: tuple[bytes, ...]
    entry: bytes
    proof: tuple[bytes, ...]
    checkpoint: str


def write_place(place: Place) -> bytes:
    document: dict[str, Json] = {
        "blind": encode_base64(place.blind),
        "checkpoint": place.checkpoint,
        "entry": encode_base64(place.entry),
        "hashes": [encode_base64(item) for item in place.hashes],
        "proof": [encode_base64(item) for item in place.proof],
        "size": place.size,
        "slot": place.slot,
    }
    return canonical(document, max_bytes=None)


def read_place(line: bytes) -> Place:
    """Raises VerificationFailed."""
    document = parse_canonical(line, max_bytes=None)
    if document.keys() != _FIELDS:
        raise VerificationFailed("a place in the root log has other fields")
    return Place(
        slot=_number(document, "slot"),
        blind=decode_base64(get_text(document, "blind"), BLIND_BYTES),
        size=_number(document, "size"),
        hashes=_hashes(document, "hashes"),
        entry=decode_base64(get_text(document, "entry")),
        proof=_hashes(document, "proof"),
        checkpoint=get_text(document, "checkpoint"),
    )


def verify_place(place: Place, origin: str, note: str, keys: Sequence[VerifierKey]) -> int:
    """Check the place of `note`, the checkpoint of the log `origin` that `place.size` names.

    `keys` are those of that log: the same key signs the root log, under that log's name. Returns
    the epoch's number. Raises VerificationFailed.
    """
    name = root_origin(origin)
    renamed = [VerifierKey(name, key.public) for key in keys]
    checkpoint = parse_checkpoint(open_note(place.checkpoint, renamed)[0])
    if checkpoint.origin != name:
        raise VerificationFailed(f"its checkpoint is not of {name}")
    epoch, root = _read_epoch(parse_entry(place.entry), name)
    leaf = leaf_hash(place.entry)
    verify_inclusion(leaf, epoch, checkpoint.size, place.proof, checkpoint.root)
    if not 0 <= place.slot < SLOTS:
        raise VerificationFailed("there is no such slot")
    slot = slot_leaf(place.slot, epoch, place.blind, text_of(note))
    verify_inclusion(slot, place.slot, SLOTS, place.hashes, root)
    return epoch


def _read_epoch(entry: Entry, name: str) -> tuple[int, bytes]:
    """Number and root. An epoch's number is its position in the root log."""
    epoch, slots = entry.facts.get("epoch"), entry.facts.get("slots")
    if entry.kind != SEALED or entry.log_origin != name or slots != SLOTS:
        raise VerificationFailed("its entry is no epoch of this root log")
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
        raise VerificationFailed("its epoch has no number")
    return epoch, decode_base64(get_text(entry.facts, "root"), 32)


def _number(document: Mapping[str, Json], name: str) -> int:
    value = document[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise VerificationFailed(f"{name!r} is no number")
    return value


def _hashes(document: Mapping[str, Json], name: str) -> tuple[bytes, ...]:
    value = document[name]
    if not isinstance(value, list) or len(value) > 64:
        raise VerificationFailed(f"{name!r} is no list of hashes")
    return tuple(decode_base64(get_text({"": item}, ""), 32) for item in value)
