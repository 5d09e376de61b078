"""The Merkle tree of a log: RFC 6962 hashing, with RFC 9162's proofs (section 2.1).

Pure functions over leaf hashes. Leaves and inner nodes are hashed under different first bytes, so
that neither can pass for the other. Every hash that comes from outside is checked to have 32 bytes:
without that, a shifted boundary between two hashes would give the same input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from broker.errors import Invalid, VerificationFailed

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def split_hashes(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES))


@dataclass(slots=True)
class Frontier:
    """The right edge of a tree: the root of each perfect subtree, largest first.

    One hash per set bit of `size`: all that appending needs, and all that has to be stored.
    """

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)

    @classmethod
    def load(cls, size: int, hashes: Sequence[bytes]) -> Frontier:
        """Take up what was stored. Raises Invalid if the hashes can't belong to `size`."""
        if size < 0 or len(hashes) != size.bit_count() or not _all_hashes(hashes):
            raise Invalid(f"these {len(hashes)} hashes are no frontier of {size} leaves")
        return cls(size, list(hashes))

    def append(self, leaf: bytes) -> None:
        """Add a leaf *hash*. Raises Invalid unless it has 32 bytes."""
        if len(leaf) != HASH_BYTES:
            raise Invalid("a leaf hash has 32 bytes")
        self.hashes.append(leaf)
        merges = self.size  # each low 1 bit is a perfect subtree that the new leaf completes
        while merges & 1:
            right = self.hashes.pop()
            self.hashes[-1] = node_hash(self.hashes[-1], right)
            merges >>= 1
        self.size += 1

    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY_ROOT
        result = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            result = node_hash(left, result)
        return result


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    frontier = Frontier()
    for leaf in leaf_hashes:
        frontier.append(leaf)
    return frontier.root()


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int, size: int) -> list[bytes]:
    """The hashes that lead from leaf `index` to the root of the first `size` leaves.

    RFC 9162, 2.1.3.1. Raises Invalid when `index` or `size` is outside the tree.
    """
    if not 0 <= index < size <= len(leaf_hashes):
        raise Invalid(f"leaf {index} is not in a tree of {size} of {len(leaf_hashes)} leaves")
    return [root(leaf_hashes[start:end]) for start, end in inclusion_path(index, size)]


def inclusion_path(index: int, size: int) -> list[tuple[int, int]]:
    """The leaves, from and until, under each hash of an inclusion proof, in its order."""
    path: list[tuple[int, int]] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes
) -> None:
    """Check that `leaf` stands at `index` of the tree of `size` leaves with root `expected`.

    RFC 9162, 2.1.3.2. Raises VerificationFailed.
    """
    if not 0 <= index < size:
        raise VerificationFailed(f"leaf {index} can't be in a tree of {size} leaves")
    if not _all_hashes([leaf, expected, *proof]):
        raise VerificationFailed("a hash of this inclusion proof has not 32 bytes")
    position, last = index, size - 1
    result = leaf
    for sibling in proof:
        if last == 0:
            raise VerificationFailed("the inclusion proof is too long")
        if position & 1 or position == last:
            result = node_hash(sibling, result)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise VerificationFailed("the inclusion proof is too short")
    if result != expected:
        raise VerificationFailed("the inclusion proof leads to another root")


def consistency_proof(leaf_hashes: Sequence[bytes], size1: int, size2: int) -> list[bytes]:
    """What shows that the tree of `size2` leaves only adds to that of `size1`.

    RFC 9162, 2.1.4.1. Empty for equal sizes and for `size1` 0. Raises Invalid.
    """
    if not 0 <= size1 <= size2 <= len(leaf_hashes):
        raise Invalid(f"no tree of {len(leaf_hashes)} leaves grows from {size1} to {size2}")
    return [root(leaf_hashes[start:end]) for start, end in consistency_path(size1, size2)]


def consistency_path(size1: int, size2: int) -> list[tuple[int, int]]:
    """The leaves, from and until, under each hash of a consistency proof, in its order."""
    if size1 in (0, size2):
        return []
    path: list[tuple[int, int]] = []
    start, end = 0, size2
    while end != size1:
        middle = start + _split(end - start)
        if size1 <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    if start != 0:  # the old tree is not itself a subtree of the new: its last part is needed too
        path.append((start, end))
    return path[::-1]


def verify_consistency(
    size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]
) -> None:
    """Check that nothing in the first `size1` leaves changed. RFC 9162, 2.1.4.2.

    An empty old tree proves nothing; it is accepted with an empty proof only (tlog-witness).
    Raises VerificationFailed.
    """
    if not 0 <= size1 <= size2:
        raise VerificationFailed(f"a log can't go from {size1} to {size2} leaves")
    if not _all_hashes([root1, root2, *proof]):
        raise VerificationFailed("a hash of this consistency proof has not 32 bytes")
    if (size1 == 0 and root1 != EMPTY_ROOT) or (size2 == 0 and root2 != EMPTY_ROOT):
        raise VerificationFailed("the root of an empty log is wrong")
    if size1 in (0, size2):
        if proof or (size1 == size2 and root1 != root2):
            raise VerificationFailed("two roots of one size differ, or the proof is too long")
        return
    # A power of two is a whole subtree of the new tree: its root is where the proof begins.
    path = list(proof) if size1 & (size1 - 1) else [root1, *proof]
    if not proof:
        raise VerificationFailed("the consistency proof is too short")
    old, new = _walk(size1, size2, path)
    if old != root1 or new != root2:
        raise VerificationFailed("the consistency proof leads to other roots")


def _walk(size1: int, size2: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Both roots, rebuilt from one path that begins at the last node they share."""
    position, last = size1 - 1, size2 - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise VerificationFailed("the consistency proof is too long")
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise VerificationFailed("the consistency proof is too short")
    return old, new


def _split(size: int) -> int:
    """The largest power of two smaller than `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _all_hashes(hashes: Sequence[bytes]) -> bool:
    return all(len(item) == HASH_BYTES for item in hashes)
