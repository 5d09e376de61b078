"""Lives in a log: what began ends once and does not come back; what the law keeps is not destroyed.

Each `note` is fed every entry, in the order of the log, and raises VerificationFailed for one that
can't follow on those before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.entries import Entry
from broker.errors import VerificationFailed


@dataclass(slots=True)
class Lives:
    """Subjects of one kind, from the entry `begin` to the entry `end`.

    An end without a beginning is no fault: the beginning may stand in an earlier log, or the
    subject was found as a remnant.
    """

    begin: str
    end: str
    begun: dict[str, None] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def note(self, entry: Entry) -> None:
        subject = entry.subject
        if entry.kind == self.begin:
            again = subject in self.begun or subject in self.ended
            self.begun[subject] = None
            if again:
                raise VerificationFailed(
                    f"a second {entry.kind} of {subject}, or one after its end"
                )
        elif entry.kind == self.end:
            again = subject in self.ended
            self.ended.add(subject)
            if again:
                raise VerificationFailed(f"a second {entry.kind} of {subject}")

    def still(self) -> tuple[str, ...]:
        """Those that began and have not ended."""
        return tuple(subject for subject in self.begun if subject not in self.ended)


@dataclass(slots=True)
class Holds:
    """Legal holds: `begun` says which copy each that has not ended keeps."""

    begun: dict[str, str] = field(default_factory=dict)

    def note(self, entry: Entry) -> None:
        if entry.kind == "hold.begun":
            self.begun[entry.subject] = str(entry.facts.get("snapshot"))
        elif entry.kind == "hold.ended":
            self.begun.pop(entry.subject, None)
        elif entry.kind == "snapshot.destroyed" and entry.subject in self.begun.values():
            raise VerificationFailed(f"copy {entry.subject} was destroyed under a legal hold")
