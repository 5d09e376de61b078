"""The tree that a bundle's entries make, against each checkpoint that was signed over it.

Fed leaf by leaf; it holds the right edge of the tree and the roots that somebody signed, never the
entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from broker.audit.merkle import EMPTY_ROOT, Frontier, leaf_hash
from broker.audit.note import Checkpoint, VerifierKey, open_note, parse_checkpoint
from broker.errors import VerificationFailed


@dataclass(slots=True)
class SignedTree:
    """`origin` names the log, `due` the sizes whose roots are asked for later."""

    origin: str
    due: set[int] = field(default_factory=set)
    roots: dict[int, bytes] = field(default_factory=lambda: {0: EMPTY_ROOT})
    frontier: Frontier = field(default_factory=Frontier)

    def open(self, note: str, keys: Sequence[VerifierKey], above: int = -1) -> Checkpoint:
        """A checkpoint that one of `keys` signed over this log, of more than `above` entries.

        Call it before the first `append`. Raises VerificationFailed.
        """
        checkpoint = parse_checkpoint(open_note(note, keys)[0])
        if checkpoint.origin != self.origin:
            raise VerificationFailed(f"it is of another log, {checkpoint.origin}")
        if checkpoint.size <= above:
            raise VerificationFailed("it is not larger than the one before it")
        self.due.add(checkpoint.size)
        return checkpoint

    def append(self, entry: bytes) -> None:
        self.append_hash(leaf_hash(entry))

    def append_hash(self, leaf: bytes) -> None:
        """In place of an entry that was pruned: its leaf hash."""
        self.frontier.append(leaf)
        if self.frontier.size in self.due:
            self.roots[self.frontier.size] = self.frontier.root()

    def holds(self, checkpoint: Checkpoint) -> bool:
        """Whether as many entries as it says give the root that it says."""
        return self.roots.get(checkpoint.size) == checkpoint.root
