"""The plan: table by table whether rows are read, and each column kept or masked, and why.

Pure: policy × catalogue in, plan out; the same input gives the same digest, which is what an admin
approves. A plan holds names, types and sentences: no row, no value, no literal (G1).

Where the schema makes every mask of a column impossible, the table's rows stay out and the plan
says which column and why, before anyone approves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import rfc8785

from broker.engines import Catalogue, Column, Fate, Table
from broker.engines.ownership import Whose
from broker.errors import Conflict, Invalid
from broker.grants.policy import KEEP, Choice, Policy

FindObstacle = Callable[[str, Column, Table], str | None]
Choose = Callable[[Table, Column], Choice]
FullName = tuple[str, str]
_JOINING = ("token",)  # masks that keep joins when their columns share a label


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """`obstacles` are the masks that were tried before, each with the reason it is impossible.

    `fallback` is the mask that a kept column gets when an admin wants it masked; "" when none is
    possible, so that only leaving the table out helps.
    """

    name: str
    type: str
    fate: Fate
    obstacles: tuple[str, ...] = ()
    fallback: str = ""

    @property
    def kept(self) -> bool:
        return self.fate.mask == KEEP


@dataclass(frozen=True, slots=True)
class TablePlan:
    """`rows` False: structure only, `note` says why. Partitions stand under their root.

    `whose` says which rows are this customer's, where tables are shared; their number is then not
    told, for that of all rows would tell of others.
    """

    schema: str
    name: str
    rows: bool
    columns: tuple[ColumnPlan, ...]
    estimated_rows: int
    size_bytes: int
    note: str = ""
    partition_of: str = ""
    whose: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    def fates(self) -> dict[str, Fate]:
        return {column.name: column.fate for column in self.columns}


@dataclass(frozen=True, slots=True)
class PlatformPlan:
    """The SaaS application for which tokens are asked: under `audience`, to read as support."""

    id: str
    name: str
    audience: str


@dataclass(frozen=True, slots=True)
class Plan:
    policy_version: int
    tables: tuple[TablePlan, ...]
    remarks: tuple[str, ...] = ()
    tenancy: str = ""  # digest of what was registered; "" for a database of the tenant's own
    platform: PlatformPlan | None = None

    def document(self) -> dict[str, Any]:
        """JSON for storing and showing; `from_document` is its inverse."""
        document = {
            "v": 1,
            "policy_version": self.policy_version,
            "remarks": list(self.remarks),
            "tables": [_table_document(table) for table in self.tables],
            **({"tenancy": self.tenancy} if self.tenancy else {}),
        }
        if self.platform is not None:
            document["platform"] = asdict(self.platform)
        return document

    def digest(self) -> str:
        """SHA-256, in hex, of the document in canonical JSON (RFC 8785)."""
        return hashlib.sha256(rfc8785.dumps(self.document())).hexdigest()

    def find_table(self, full_name: str) -> TablePlan | None:
        return next((table for table in self.tables if table.full_name == full_name), None)


def _table_document(table: TablePlan) -> dict[str, Any]:
    return {
        "schema": table.schema,
        "name": table.name,
        "rows": table.rows,
        "note": table.note,
        "partition_of": table.partition_of,
        "estimated_rows": table.estimated_rows,
        "size_bytes": table.size_bytes,
        "columns": [
            {
                "name": column.name,
                "type": column.type,
                "mask": column.fate.mask,
                "label": column.fate.label,
                "why": column.fate.why,
                "obstacles": list(column.obstacles),
                "fallback": column.fallback,
            }
            for column in table.columns
        ],
        **({"whose": table.whose} if table.whose else {}),
    }


def from_document(document: Mapping[str, Any]) -> Plan:
    """Raises Invalid for another version."""
    if document.get("v") != 1:
        raise Invalid("this plan was written by another version of the broker")
    return Plan(
        policy_version=document["policy_version"],
        remarks=tuple(document["remarks"]),
        tenancy=document.get("tenancy", ""),
        platform=PlatformPlan(**document["platform"]) if "platform" in document else None,
        tables=tuple(
            TablePlan(
                schema=table["schema"],
                name=table["name"],
                rows=table["rows"],
                note=table["note"],
                partition_of=table["partition_of"],
                estimated_rows=table["estimated_rows"],
                size_bytes=table["size_bytes"],
                whose=table.get("whose", ""),
                columns=tuple(
                    ColumnPlan(
                        name=column["name"],
                        type=column["type"],
                        fate=Fate(column["mask"], column["label"], column["why"]),
                        obstacles=tuple(column["obstacles"]),
                        fallback=column["fallback"],
                    )
                    for column in table["columns"]
                ),
            )
            for table in document["tables"]
        ),
    )


@dataclass(frozen=True, slots=True)
class _Rules:
    """What the fate of a column depends on."""

    choose: Choose
    find_obstacle: FindObstacle
    joined: Mapping[tuple[FullName, str], str]  # column -> label of its class of foreign keys
    decided: Mapping[str, str | None]  # label -> the one mask of its class, None if impossible


_ALL: Mapping[FullName, Whose] = MappingProxyType({})


def make_plan(
    policy: Policy,
    catalogue: Catalogue,
    find_obstacle: FindObstacle,
    *,
    whose: Mapping[FullName, Whose] = _ALL,
    tenancy: str = "",
) -> Plan:
    """Decide the fate of every column of every table. Deterministic.

    `whose` says which rows are the tenant's where it shares tables, `tenancy` is the digest of what
    was registered.
    """
    tables = {(table.schema, table.name): table for table in catalogue.tables}
    joined = _join_classes(catalogue.tables)
    choose = _choose_with_keys(policy, whose)
    decided = _decide_classes(choose, tables, joined, find_obstacle)
    rules = _Rules(choose, find_obstacle, joined, decided)
    plans = tuple(
        _take_own(
            _plan_table(table, _root(table, tables), rules), whose.get((table.schema, table.name))
        )
        for table in catalogue.tables
    )
    return Plan(policy.version, plans, _remarks(catalogue), tenancy)


def _choose_with_keys(policy: Policy, whose: Mapping[FullName, Whose]) -> Choose:
    """The policy's choice, but for the tenant key: registering it has classified it."""

    def choose(table: Table, column: Column) -> Choice:
        choice = policy.choose(table, column)
        own = whose.get((table.schema, table.name))
        if own is None or own.column is None or own.column.name != column.name:
            return choice
        rest = tuple(mask for mask in choice.masks if mask != KEEP)
        return Choice((KEEP, *rest), "this customer's own key, the same in every row that is shown")

    return choose


def _take_own(planned: TablePlan, whose: Whose | None) -> TablePlan:
    if whose is None:
        return planned
    shown = replace(planned, whose=whose.sentence, estimated_rows=0, size_bytes=0)
    if not whose.refusal:
        return shown
    return replace(shown, rows=False, note=f"structure only: {whose.refusal}")


def check_same_tenancy(plan: Plan, tenancy: str) -> None:
    """What was approved for one tenant's rows is never carried out for others'."""
    if plan.tenancy != tenancy:
        raise Conflict(
            "the database's registration is not the one that was approved; ask for access again"
        )


def _remarks(catalogue: Catalogue) -> tuple[str, ...]:
    return tuple(f"not copied: {sentence}" for sentence in catalogue.obstacles)


def _root(table: Table, tables: Mapping[FullName, Table]) -> Table:
    while table.parent is not None and table.parent in tables:
        table = tables[table.parent]
    return table


def _decide_classes(
    choose: Choose,
    tables: Mapping[FullName, Table],
    joined: Mapping[tuple[FullName, str], str],
    find_obstacle: FindObstacle,
) -> dict[str, str | None]:
    """One mask for all columns of a class of foreign keys, so that joins hold.

    Kept if the policy would rather keep each of them; else a mask that keeps joins if all allow it;
    else kept if the policy allows that at all; else there is none.
    """
    members: dict[str, list[tuple[Table, Column]]] = {}
    for (name, column_name), label in joined.items():
        table = tables.get(name)
        column = next((c for c in table.columns if c.name == column_name), None) if table else None
        if table is not None and column is not None:
            members.setdefault(label, []).append((table, column))
    decided: dict[str, str | None] = {}
    for label, columns in members.items():
        chains = [choose(table, column).masks for table, column in columns]
        possible = [KEEP] if all(chain[0] == KEEP for chain in chains) else []
        possible += [
            mask
            for mask in _JOINING
            if all(find_obstacle(mask, column, table) is None for table, column in columns)
        ]
        possible += [KEEP] if all(KEEP in chain for chain in chains) else []
        decided[label] = next(iter(possible), None)
    return decided


def _plan_table(table: Table, root: Table, rules: _Rules) -> TablePlan:
    """A partition has the fates of its root, labels included."""
    by_name = {column.name: column for column in root.columns}
    columns: list[ColumnPlan] = []
    problems: list[str] = []
    for column in table.columns:
        planned, problem = _plan_column(root, by_name.get(column.name, column), rules)
        columns.append(planned)
        if problem:
            problems.append(problem)
    note = "structure only: " + "; ".join(problems) if problems else ""
    return TablePlan(
        schema=table.schema,
        name=table.name,
        rows=not problems,
        columns=tuple(columns),
        estimated_rows=table.estimated_rows,
        size_bytes=table.size_bytes,
        note=note,
        partition_of=root.full_name if root is not table else "",
    )


def _plan_column(table: Table, column: Column, rules: _Rules) -> tuple[ColumnPlan, str | None]:
    choice = rules.choose(table, column)
    own_label = f"{table.full_name}.{column.name}"
    label = rules.joined.get(((table.schema, table.name), column.name))
    if label is not None:
        mask = rules.decided.get(label)
        if mask is not None:
            return ColumnPlan(column.name, column.type, Fate(mask, label, choice.why)), None
        reason = "it joins tables, and no mask that keeps joins is possible on all of them"
        return _impossible(column, own_label, (reason,))
    tried: list[str] = []
    for mask in choice.masks:
        obstacle = rules.find_obstacle(mask, column, table)
        if obstacle is None:
            fallback = _find_fallback(choice.masks, column, table, rules) if mask == KEEP else ""
            fate = Fate(mask, own_label, choice.why)
            return ColumnPlan(column.name, column.type, fate, tuple(tried), fallback), None
        tried.append(f"{mask}: {obstacle}")
    return _impossible(column, own_label, tuple(tried))


def _impossible(
    column: Column, label: str, tried: tuple[str, ...]
) -> tuple[ColumnPlan, str | None]:
    fate = Fate("null", label, "no mask is possible here, so the rows of this table stay out")
    problem = f"{column.name} can't be masked ({tried[-1]})"
    return ColumnPlan(column.name, column.type, fate, tried), problem


def _find_fallback(masks: tuple[str, ...], column: Column, table: Table, rules: _Rules) -> str:
    rest = (m for m in masks if m != KEEP and rules.find_obstacle(m, column, table) is None)
    return next(rest, "")


def _join_classes(tables: Iterable[Table]) -> dict[tuple[FullName, str], str]:
    """Columns tied by foreign keys, each with the label of its class: the first name in order."""
    parent: dict[tuple[FullName, str], tuple[FullName, str]] = {}

    def find(item: tuple[FullName, str]) -> tuple[FullName, str]:
        while parent.setdefault(item, item) != item:
            item = parent[item]
        return item

    for table in tables:
        for constraint in table.constraints:
            if constraint.kind == "foreign" and constraint.target is not None:
                for mine, theirs in zip(constraint.columns, constraint.target_columns, strict=True):
                    a = find(((table.schema, table.name), mine))
                    b = find((constraint.target, theirs))
                    low, high = min(a, b), max(a, b)
                    parent[high] = low
    return {item: f"{(top := find(item))[0][0]}.{top[0][1]}.{top[1]}" for item in list(parent)}


def more_masked(approved: Plan, fresh: Plan) -> tuple[Plan, tuple[str, ...]]:
    """What a copy may read now: the approved plan, and for all that changed since, less.

    A column or table that was not in the approved plan is masked or left without rows; one that
    is gone is dropped. Drift can only mask more; each difference comes back as a sentence.
    """
    drift: list[str] = []
    tables = [_meet(approved.find_table(table.full_name), table, drift) for table in fresh.tables]
    names = {table.full_name for table in fresh.tables}
    drift += [f"{t.full_name} is gone" for t in approved.tables if t.full_name not in names]
    return replace(fresh, tables=tuple(tables)), tuple(drift)


def _meet(old: TablePlan | None, table: TablePlan, drift: list[str]) -> TablePlan:
    if old is None:
        drift.append(f"{table.full_name} is new: structure only")
        return replace(table, rows=False, note="new since the plan was approved")
    if not (old.rows and table.rows):
        return replace(table, rows=False, note=old.note or table.note)
    if old.whose != table.whose:
        drift.append(f"{table.full_name} tells otherwise whose its rows are: structure only")
        return replace(table, rows=False, note="whose its rows are changed since the approval")
    columns: list[ColumnPlan] = []
    for column in table.columns:
        before = next((c for c in old.columns if c.name == column.name), None)
        if before is not None and before.type == column.type:
            columns.append(replace(column, fate=before.fate, obstacles=before.obstacles))
            continue
        where = f"{table.full_name}.{column.name}"
        change = "is new" if before is None else "changed its type"
        masked = mask_kept(column, f"{change} since the plan was approved")
        if masked is None:
            drift.append(f"{where} {change} and can't be masked: structure only")
            return replace(table, rows=False, note=f"{column.name} {change} and can't be masked")
        drift.append(f"{where} {change}: {masked.fate.mask}")
        columns.append(masked)
    return replace(table, columns=tuple(columns))


def mask_kept(column: ColumnPlan, why: str) -> ColumnPlan | None:
    """The column masked, by its fallback if it was kept; None when no mask is possible."""
    if not column.kept:
        return column
    if not column.fallback:
        return None
    return replace(column, fate=replace(column.fate, mask=column.fallback, why=why), fallback="")
