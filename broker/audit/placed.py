"""Where a bundle says that its log stands in the root log, and who else has signed that. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from broker.audit.cosigning import WitnessKey, verify_cosignature
from broker.audit.findings import Finding
from broker.audit.note import VerifierKey
from broker.audit.root_log import Place, verify_place
from broker.entries import Entry
from broker.errors import VerificationFailed


class Places:
    """Fed the entries that name a slot, then the places that a bundle shows; `last` is the last.

    `told` is what the reader was told of its slot: the number, and SHA-256 of its key.
    """

    def __init__(self, origin: str, told: tuple[int, str] | None) -> None:
        self._origin = origin
        self._told = told
        self._slots: set[str] = set()
        self.last: Place | None = None

    def note(self, entry: Entry) -> None:
        if entry.kind == "slot.assigned":
            self._slots.add(str(entry.facts.get("slot")))

    def check(self, place: Place, note: str | None, keys: Sequence[VerifierKey]) -> Finding:
        """A checkpoint of this log, `note`, stands in its one slot of an epoch of the root log."""
        self.last = place
        try:
            epoch = self._check(place, note, keys)
        except VerificationFailed as error:
            return Finding(ok=False, text=f"Its place in the root log does not hold: {error}.")
        where = f"slot {place.slot} of the root log's epoch {epoch}"
        return Finding(ok=True, text=f"Its {place.size} entries stand in {where}.")

    def _check(self, place: Place, note: str | None, keys: Sequence[VerifierKey]) -> int:
        if self._slots != {str(place.slot)}:
            raise VerificationFailed("the log names another slot, or none, or more than one")
        shown = (place.slot, hashlib.sha256(place.blind).hexdigest())
        if self._told not in {None, shown}:
            raise VerificationFailed("it is not the slot that you were told: this is a fork")
        if note is None:
            raise VerificationFailed("the checkpoint that it speaks of is not here")
        return verify_place(place, self._origin, note, keys)

    def check_witnesses(self, witnesses: Sequence[WitnessKey]) -> Iterator[Finding]:
        """They cosigned the root log's checkpoint: they saw it grow, and no other face of it."""
        for key in witnesses:
            yield self._check_witness(key)

    def _check_witness(self, key: WitnessKey) -> Finding:
        if self.last is None:
            text = f"No place in the root log is shown that {key.name} could have cosigned."
            return Finding(ok=False, text=text)
        try:
            at = datetime.fromtimestamp(verify_cosignature(self.last.checkpoint, key), UTC)
        except VerificationFailed as error:
            return Finding(ok=False, text=f"The root log's checkpoint: {error}.")
        except (OverflowError, ValueError, OSError):
            text = f"The root log's checkpoint: {key.name} names no instant."
            return Finding(ok=False, text=text)
        text = f"{key.name} cosigned the root log on {at:%Y-%m-%d %H:%M:%S} UTC."
        return Finding(ok=True, text=text)
