"""A promise that a decision will stand in the log, and what a reader's log says of it. Pure.

A worker signs the statement of a decision seconds after it was taken, before the log's next
checkpoint perhaps, and promises in it that the log names both by an instant: the merge delay, as a
signed certificate timestamp has one (RFC 6962, 3.2). A vendor that then loses the decision has
signed the evidence: whoever kept the statement shows that the log withholds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.audit.findings import Finding
from broker.entries import Entry

MERGE_DELAY = timedelta(minutes=10)  # two seconds when all is well; health is red after it


@dataclass(frozen=True, slots=True)
class Promised:
    """From a signed statement: of which log, that an entry about `grant` dated `decided_at`, and
    one about `decision` that names the statement's SHA-256, are in it `by` then.
    """

    log: str
    decision: str
    grant: str
    digest: str
    decided_at: datetime
    by: datetime


class Promises:
    """Fed the entries of the log `origin`; then asked which promises it keeps."""

    def __init__(self, origin: str, promised: Sequence[Promised]) -> None:
        self._origin = origin
        self._promised = promised
        self._acts = {(one.grant, one.decided_at): False for one in promised}
        self._named: dict[str, set[str]] = {one.decision: set() for one in promised}

    def note(self, entry: Entry) -> None:
        if (entry.subject, entry.at) in self._acts:
            self._acts[entry.subject, entry.at] = True
        if entry.kind == "decision.signed" and entry.subject in self._named:
            self._named[entry.subject].add(str(entry.facts.get("digest")))

    def check(self, latest: datetime | None) -> Iterator[Finding]:
        """`latest` is the last instant in the log: what was due by then must be there."""
        for one in self._promised:
            yield self._check(one, latest)

    def _check(self, one: Promised, latest: datetime | None) -> Finding:
        named, acted = self._named[one.decision], self._acts[one.grant, one.decided_at]
        until = f"{one.by:%Y-%m-%d %H:%M:%S} UTC"
        if one.log != self._origin:
            return Finding(ok=False, text=f"Decision {one.decision} is of another log, {one.log}.")
        if named and named != {one.digest}:
            text = f"The log names another statement of decision {one.decision} than yours."
            return Finding(ok=False, text=text)
        if named and acted:
            return Finding(ok=True, text=f"Decision {one.decision} is in the log, as promised.")
        if latest is None or latest < one.by:
            text = f"Decision {one.decision} is promised by {until}; this log ends before."
            return Finding(ok=True, text=text)
        text = f"Decision {one.decision} was promised by {until} and is not here: it was withheld."
        return Finding(ok=False, text=text)
