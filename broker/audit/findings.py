"""What a verifier says: findings, a sentence each, and the report that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from broker.audit.note import Checkpoint
from broker.entries import Json


@dataclass(frozen=True, slots=True)
class Finding:
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What the log says, as far as it could be read; to be believed only if the report is ok."""

    origin: str = ""
    entries: int = 0
    last_checkpoint: Checkpoint | None = None
    last_note: str = ""  # the last checkpoint as it was signed: what a reader keeps
    first_at: datetime | None = None
    last_at: datetime | None = None
    open_grants: tuple[str, ...] = ()
    living_copies: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """`authenticated`: everything that is signed carries a signature by a key from outside."""

    findings: tuple[Finding, ...]
    authenticated: bool
    summary: Summary = field(default_factory=Summary)
    statement: Mapping[str, Json] | None = None  # of `verify_certificate`, once its signature holds

    @property
    def ok(self) -> bool:
        return self.authenticated and all(finding.ok for finding in self.findings)
