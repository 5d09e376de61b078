"""What the labels on a server say: which of its roles and databases are ours, and of what. Pure.

What must stay true: only a label whose MAC holds for the very role or database that bears it makes
a thing ours. All else in our places is a stranger, which nobody touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from broker.engines.postgres.copying.sandbox import Found as Database
from broker.engines.postgres.looks import MarkedRole
from broker.engines.postgres.scopes import label_place
from broker.errors import VerificationFailed
from broker.labels import Label, read_label
from broker.secret import Secret


@dataclass(slots=True)
class Signs:
    """By kind of label; `leases` and `sandboxes` say of which lease and which copy."""

    leases: dict[str, str] = field(default_factory=dict)  # role: id of its lease
    scopes: set[str] = field(default_factory=set)
    sandboxes: dict[str, set[str]] = field(default_factory=dict)  # id of a copy: its roles
    strangers: set[tuple[str, str]] = field(default_factory=set)  # (kind, name)
    ends: dict[str, datetime] = field(default_factory=dict)  # of a role, by its own label

    @property
    def ours(self) -> set[tuple[str, str]]:
        """Everything with a true label, as (kind, name)."""
        return {
            *(("lease", role) for role in self.leases),
            *(("scope", name) for name in self.scopes),
            *(("sandbox", sandbox_name(snapshot_id)) for snapshot_id in self.sandboxes),
        }


def sandbox_name(snapshot_id: str) -> str:
    return f"sab_{snapshot_id[4:]}"


def read_signs(
    databases: Sequence[Database], roles: Sequence[MarkedRole], key: Secret[bytes]
) -> Signs:
    """Sort a server's databases and marked roles by what their labels say.

    The label of its owner also speaks for a database without one: it is made first, and a broker
    that died in between left the database bare.
    """
    signs, spoken_for = Signs(), set[str]()
    for role in roles:
        place = label_place(role.name)
        label = _find_label(role.comment, place, key)
        if label is None:
            signs.strangers.add(("role", role.name))
            continue
        signs.ends[role.name] = label.end
        match label.kind:
            case "lease":
                signs.leases[role.name] = label.id
            case "scope":
                signs.scopes.add(place)
            case "sandbox":
                signs.sandboxes.setdefault(label.id, set()).add(role.name)
                spoken_for.add(sandbox_name(label.id))
            case "decoy":
                spoken_for.add(role.name.removesuffix("_o"))
            case _:
                signs.strangers.add(("role", role.name))
    for database in databases:
        label = _find_label(database.label_text, database.name, key)
        if label is not None and label.kind == "sandbox":
            signs.sandboxes.setdefault(label.id, set())
        elif database.name not in spoken_for and (label is None or label.kind != "decoy"):
            signs.strangers.add(("database", database.name))
    return signs


def _find_label(text: str | None, place: str, key: Secret[bytes]) -> Label | None:
    try:
        return read_label(text or "", place, key)
    except VerificationFailed:
        return None
