"""One entry with its proof, as a file that verifies offline (C2SP tlog-proof).

    c2sp.org/tlog-proof@v1
    extra <base64 of the entry>
    index <its position>
    <hash, base64>...

    <checkpoint>

The extra line is not trusted: the entry in it must hash to what the checkpoint was signed over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from broker.audit.merkle import leaf_hash, verify_inclusion
from broker.audit.note import VerifierKey, open_note, parse_checkpoint
from broker.entries import Entry, decode_base64, encode_base64, parse_entry
from broker.errors import VerificationFailed

_FIRST = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,15})")
_MAX_HASHES = 64


@dataclass(frozen=True, slots=True)
class Proof:
    """`hashes` lead from entry `index` to the root in `checkpoint`."""

    index: int
    entry: bytes
    hashes: tuple[bytes, ...]
    checkpoint: str


def format_proof(proof: Proof) -> str:
    lines = [_FIRST, f"extra {encode_base64(proof.entry)}", f"index {proof.index}"]
    lines += [encode_base64(item) for item in proof.hashes]
    return "\n".join([*lines, "", proof.checkpoint])


def parse_proof(text: str) -> Proof:
    """Raises VerificationFailed for any other spelling."""
    head, blank, checkpoint = text.partition("\n\n")
    first, *lines = head.split("\n")
    if first != _FIRST or not blank or len(lines) < 2 or len(lines) > 2 + _MAX_HASHES:
        raise VerificationFailed("this is no proof: c2sp.org/tlog-proof@v1, then its lines")
    extra, index, *hashes = lines
    match = _INDEX.fullmatch(index)
    if match is None or not extra.startswith("extra "):
        raise VerificationFailed("a proof of ours has an extra line, then its index")
    return Proof(
        int(match[1]),
        decode_base64(extra.removeprefix("extra ")),
        tuple(decode_base64(line, 32) for line in hashes),
        checkpoint,
    )


def verify_proof(text: str, trusted: Sequence[VerifierKey]) -> tuple[Proof, Entry]:
    """The proof and what its entry says, once all of it holds. Raises VerificationFailed."""
    proof = parse_proof(text)
    entry = parse_entry(proof.entry)
    keys = [key for key in trusted if key.name == entry.log_origin]
    if not keys:
        raise VerificationFailed(f"no key of {entry.log_origin} was given from outside")
    checkpoint = parse_checkpoint(open_note(proof.checkpoint, keys)[0])
    if checkpoint.origin != entry.log_origin:
        raise VerificationFailed(f"the checkpoint is of another log, {checkpoint.origin}")
    leaf = leaf_hash(proof.entry)
    verify_inclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return proof, entry
