"""What a kind of entry consists of, and the facts that several kinds share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# What a fact can be, and how it stands in JSON.
TYPES: Mapping[str, type] = {
    "id": str,
    "word": str,
    "digest": str,  # SHA-256, hexadecimal
    "instant": str,  # ISO 8601 with its zone
    "number": int,
    "yes or no": bool,
    "words": list,
    "numbers": list,
}


@dataclass(frozen=True, slots=True)
class Kind:
    """`subject` is what the entry is about; a fact may be absent, none may be added."""

    says: str
    subject: str
    facts: Mapping[str, str] = field(default_factory=dict)
    personal: tuple[str, ...] = ()


WHY = {"why": "word"}
LOGINS = {"logins": "number"}
ENDS = {"ends_at": "instant"}
COUNTS = {"tables": "number", "columns_kept": "number", "columns_masked": "number"}
COUNTS |= {"columns_raw": "number", "tables_restricted": "number"}
GIVEN = {
    "shown": "digest",
    "given": "digest",
    "live_s": "number",
    "copy_s": "number",
    "platform_s": "number",
    "kind": "word",
    "storage_s": "number",
    "starts_at": "instant",
    "develop": "yes or no",
    "dedicated": "yes or no",
    **COUNTS,
}
STOOD_IN = {"for": "id", "delegation": "id"}  # of an admin's delegate
DELEGATION = {"giver": "id", "delegate": "id", "starts_at": "instant", "ends_at": "instant"}
POLICY = {
    "version": "number",
    "digest": "digest",
    "approvals": "number",
    "approvers": "words",
    "live_max_s": "number",
    "copy_max_s": "number",
    "unanswered_s": "number",
    "second_person": "yes or no",
    "reminders": "numbers",
    "escalate_after_s": "number",
    "escalate_to": "words",
    "masked_only": "yes or no",
    "dedicated_only": "yes or no",
    "break_glass": "yes or no",
    "break_glass_max_s": "number",
}
TERMS = {
    "database": "id",
    "digest": "digest",
    "plan": "digest",
    "live_max_s": "number",
    "copy_max_s": "number",
    "per_ticket": "number",
    **ENDS,
}
ORDER = {"tenant": "id", "silent_until": "instant"}
CONSENT = {"purpose": "word", "version": "number", "about": "word", "person": "id"}
AGREED = {**CONSENT, "digest": "digest", "language": "word", "lapses_at": "instant"}
RIGHT = {"kind": "word", "person": "id", "due_at": "instant"}
ROLE = {"role": "word"}
PROVIDER = {"groups": "number", "secret": "yes or no"}
NAME = ("name", "email")
FOUND = {"kind": "word", "on": "id", "row": "word", "role": "id", "scope": "id"}
CERTIFICATE = {"certificate": "id", "digest": "digest", "snapshot": "id"}
