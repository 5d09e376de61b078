"""What was pruned from a log, told apart from what is withheld. Pure.

A pruned entry leaves its hash, so the tree and every proof stay. It may be gone only if a later
entry of the log, `log.pruned`, says so, and if the entry that follows it was half a year old then:
instants don't run backwards, so whatever stood before that entry was at least as old. Nothing
younger than that can be passed off as pruned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.audit.findings import Finding
from broker.audit.stamped import OVERLAP
from broker.entries import Entry

KEPT = timedelta(days=180)  # CNIL, délibération 2021-122: logs are kept for six months at least


@dataclass(slots=True)
class Gaps:
    """Fed what stands in a log, in order. `gone` entries are missing, the last before `until`."""

    gone: int = 0
    until: int = 0
    next_at: datetime | None = None  # of the entry at `until`
    said_until: int = 0
    said_at: datetime | None = None

    def note_gone(self, index: int, count: int) -> None:
        self.gone, self.until, self.next_at = self.gone + count, index + count, None

    def note(self, index: int, entry: Entry) -> None:
        if index == self.until:
            self.next_at = entry.at
        until = entry.facts.get("until")
        if entry.kind == "log.pruned" and isinstance(until, int):
            self.said_until, self.said_at = until, entry.at

    def check(self) -> Iterator[Finding]:
        if not self.gone:
            return
        where = f"{self.gone} entries before entry {self.until} are not here, but for their hashes"
        if self.said_at is None or self.said_until < self.until:
            yield Finding(ok=False, text=f"{where}: the log does not say that they were pruned.")
        elif self.next_at is None or self.next_at > self.said_at - KEPT + OVERLAP:
            text = f"{where}: when they were pruned they were not half a year old."
            yield Finding(ok=False, text=text)
        else:
            text = f"{where}: they were pruned on {self.said_at:%Y-%m-%d}, older than half a year."
            yield Finding(ok=True, text=f"{text} What they said is not shown.")
