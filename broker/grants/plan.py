"""The plan: table by table whether rows are read, and each column kept or masked, and why.

Pure: policy × catalogue in, plan out; the same input gives the same digest, which is what an admin
approves. A plan holds names, types and sentences: no row, no value, no literal (G1); but for the
values to which an admin restricted rows, which the admin wrote.

Where the schema makes every mask of a column impossible, the table's rows stay out and the plan
says which column and why, before anyone approves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import rfc8785

from broker.engines import Catalogue, Column, Fate, Table
from broker.engines.ownership import Whose
from broker.errors import Conflict, Invalid
from broker.grants.policy import BY_PATH, KEEP, SHIFT, Choice, Policy
from broker.grants.scope_kinds import MASKED, RAW, STRUCTURE, Wanted
from broker.languages import mark
from broker.restricting import Restriction

FindObstacle = Callable[[str, Column, Table], str | None]
Choose = Callable[[Table, Column], Choice]
FindNeverRaw = Callable[[Table, Column], str | None]
FullName = tuple[str, str]
_JOINING = ("token",)  # masks that keep joins when their columns share a label


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """`obstacles` are the masks that were tried before, each with the reason it is impossible.

    `fallback` is the mask that a kept column gets when an admin wants it masked; "" when none is
    possible, so that only leaving the table out helps. `raw`: kept only because it was asked by
    name, where the policy would mask it. `enum`: its type is one, by whose labels a decision may
    restrict rows.
    """

    name: str
    type: str
    fate: Fate
    obstacles: tuple[str, ...] = ()
    fallback: str = ""
    raw: bool = False
    enum: bool = False

    @property
    def kept(self) -> bool:
        return self.fate.mask == KEEP


@dataclass(frozen=True, slots=True)
class TablePlan:
    """`rows` False: structure only, `note` says why. Partitions stand under their root.

    `whose` says which rows are this customer's, where tables are shared; their number is then not
    told, for that of all rows would tell of others. `only` is what a decision left of them: those
    for which all of these hold. Its values are the admin's own words, and none was read.
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
    only: tuple[Restriction, ...] = ()

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
class StoragePlan:
    """The objects for which sessions are asked: those of `bucket` under `prefix`, to read."""

    id: str
    name: str
    bucket: str
    prefix: str


RESIDUE = {
    "shared": "on a shared test server: what was on its disk, masked rows and columns kept as they "
    "are, may remain in freed blocks until these are overwritten or the disk's key is changed",
    "dedicated": "on a server of its own, on an encrypted volume whose key dies with the copy: "
    "what remains on the disk is unreadable",
}


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What a copy is more than usual. `develop`: its logins may change its definitions too.
    `dedicated`: it lives on a server of its own, on an encrypted volume.
    """

    develop: bool = False
    dedicated: bool = False

    @property
    def server(self) -> str:
        """Of `tenants.KINDS`."""
        return "dedicated" if self.dedicated else "shared"

    @property
    def residue(self) -> str:
        """What may remain after its destruction, in a sentence; see docs/residue.md."""
        return RESIDUE[self.server]

    def is_within(self, other: CopyPlan) -> bool:
        return self.develop <= other.develop and self.dedicated >= other.dedicated

    def meet(self, other: CopyPlan) -> CopyPlan:
        return CopyPlan(self.develop and other.develop, self.dedicated or other.dedicated)


USUAL_COPY = CopyPlan()


@dataclass(frozen=True, slots=True)
class Plan:
    policy_version: int
    tables: tuple[TablePlan, ...]
    remarks: tuple[str, ...] = ()
    tenancy: str = ""  # digest of what was registered; "" for a database of the tenant's own
    platform: PlatformPlan | None = None
    storage: StoragePlan | None = None
    structure: bool = False  # asked without any row
    copy: CopyPlan = USUAL_COPY

    @property
    def kind(self) -> str:
        """Of `scope_kinds.KINDS`: what this plan shows, whatever was asked."""
        if self.structure:
            return STRUCTURE
        shown = (column for table in self.tables if table.rows for column in table.columns)
        return RAW if any(column.raw for column in shown) else MASKED

    @property
    def tables_restricted(self) -> int:
        """Of how many tables a decision left only some rows; parts go with their root."""
        return sum(bool(table.only) for table in self.tables if not table.partition_of)

    def document(self) -> dict[str, Any]:
        """JSON for storing and showing; `from_document` is its inverse."""
        document = {
            "v": 1,
            "policy_version": self.policy_version,
            "remarks": list(self.remarks),
            "tables": [_table_document(table) for table in self.tables],
            **({"tenancy": self.tenancy} if self.tenancy else {}),
            **({"structure": True} if self.structure else {}),
        }
        if self.platform is not None:
            document["platform"] = asdict(self.platform)
        if self.storage is not None:
            document["storage"] = asdict(self.storage)
        if self.copy != USUAL_COPY:  # what plans said before copies could be another is the same
            document["copy"] = asdict(self.copy)
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
                **(
                    {"paths": [list(path) for path in column.fate.paths]}
                    if column.fate.paths
                    else {}
                ),
                **({"subject": column.fate.subject} if column.fate.subject else {}),
                **({"raw": True} if column.raw else {}),
                **({"enum": True} if column.enum else {}),
            }
            for column in table.columns
        ],
        **({"whose": table.whose} if table.whose else {}),
        **({"only": [_only_document(one) for one in table.only]} if table.only else {}),
    }


def _only_document(one: Restriction) -> dict[str, Any]:
    chosen = {"days": one.days} if one.days else {"values": list(one.values)}
    return {"column": one.column, **chosen}


def _read_fate(column: Mapping[str, Any]) -> Fate:
    paths = tuple((path, mask) for path, mask in column.get("paths", ()))
    return Fate(column["mask"], column["label"], column["why"], paths, column.get("subject", ""))


def from_document(document: Mapping[str, Any]) -> Plan:
    """Raises Invalid for another version."""
    if document.get("v") != 1:
        raise Invalid("this plan was written by another version of the broker")
    return Plan(
        policy_version=document["policy_version"],
        remarks=tuple(document["remarks"]),
        tenancy=document.get("tenancy", ""),
        platform=PlatformPlan(**document["platform"]) if "platform" in document else None,
        structure=document.get("structure", False),
        storage=StoragePlan(**document["storage"]) if "storage" in document else None,
        copy=CopyPlan(**document["copy"]) if "copy" in document else USUAL_COPY,
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
                only=tuple(
                    Restriction(one["column"], tuple(one.get("values", ())), one.get("days", 0))
                    for one in table.get("only", ())
                ),
                columns=tuple(
                    ColumnPlan(
                        name=column["name"],
                        type=column["type"],
                        fate=_read_fate(column),
                        obstacles=tuple(column["obstacles"]),
                        fallback=column["fallback"],
                        raw=column.get("raw", False),
                        enum=column.get("enum", False),
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
    find_never_raw: FindNeverRaw
    raw: frozenset[str]  # full names of columns that were asked in clear


_ALL: Mapping[FullName, Whose] = MappingProxyType({})
_MASKED = Wanted()


def make_plan(
    policy: Policy,
    catalogue: Catalogue,
    find_obstacle: FindObstacle,
    *,
    whose: Mapping[FullName, Whose] = _ALL,
    tenancy: str = "",
    wanted: Wanted = _MASKED,
) -> Plan:
    """Decide the fate of every column of every table. Deterministic.

    `whose` says which rows are the tenant's where it shares tables, `tenancy` is the digest of what
    was registered, `wanted` what was asked to be seen.
    """
    tables = {(table.schema, table.name): table for table in catalogue.tables}
    joined = _join_classes(catalogue.tables)
    choose = _choose_with_keys(policy, whose)
    decided = _decide_classes(choose, tables, joined, find_obstacle)
    raw = frozenset(wanted.raw)
    rules = _Rules(choose, find_obstacle, joined, decided, policy.find_never_raw, raw)
    plans = tuple(
        _take_own(
            _plan_table(table, _root(table, tables), rules), whose.get((table.schema, table.name))
        )
        for table in catalogue.tables
    )
    if wanted.kind == STRUCTURE:
        plans = tuple(_without_rows(table) for table in plans)
    remarks = (*_remarks(catalogue), *_not_raw(plans, wanted))
    structure = wanted.kind == STRUCTURE
    copy = CopyPlan(wanted.develop, wanted.dedicated)
    return Plan(policy.version, plans, remarks, tenancy, structure=structure, copy=copy)


def _without_rows(table: TablePlan) -> TablePlan:
    return replace(table, rows=False, note=table.note or mark("structure only: no row was asked"))


def _not_raw(plans: Iterable[TablePlan], wanted: Wanted) -> Iterator[str]:
    """A sentence for each column that was asked in clear and is not shown so."""
    known = {f"{t.full_name}.{c.name}": (t, c) for t in plans for c in t.columns}
    for name in wanted.raw:
        table, column = known.get(name, (None, None))
        if table is None or column is None:
            yield f"not raw: {name}: the plan has no such column"
        elif table.partition_of:
            yield f"not raw: {name}: {table.full_name} is a part; name {table.partition_of} instead"
        elif not table.rows:
            yield f"not raw: {name}: no row of {table.full_name} is shown"
        elif not column.kept:
            yield f"not raw: {name}: {column.obstacles[0].removeprefix('raw: ')}"


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
        columns.append(replace(planned, enum=column.enum))
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
    asked_raw = own_label in rules.raw and choice.masks[0] != KEEP
    label = rules.joined.get(((table.schema, table.name), column.name))
    if label is not None:
        mask = rules.decided.get(label)
        if mask is not None:
            why_not = (_JOINS_RAW,) if asked_raw and mask != KEEP else ()
            fate = Fate(mask, label, choice.why)
            return ColumnPlan(column.name, column.type, fate, why_not), None
        reason = "it joins tables, and no mask that keeps joins is possible on all of them"
        return _impossible(column, own_label, (reason,))
    never = rules.find_never_raw(table, column) if asked_raw else None
    if asked_raw and never is None:
        return _raw(table, column, choice, rules), None
    tried = [f"raw: never: {never}"] if never else []
    for mask in choice.masks:
        subject = choice.find_subject(table, column) if mask == SHIFT else None
        obstacle = rules.find_obstacle(mask, column, table)
        if mask == SHIFT and subject is None:
            obstacle = "no column of the table says whose a row is"
        if obstacle is None:
            fallback = _find_fallback(choice.masks, column, table, rules) if mask == KEEP else ""
            fate = _fate(mask, own_label, choice)
            if subject is not None:
                fate = _shifted(table, subject, choice, rules)
            return ColumnPlan(column.name, column.type, fate, tuple(tried), fallback), None
        tried.append(f"{mask}: {obstacle}")
    return _impossible(column, own_label, tuple(tried))


def _fate(mask: str, label: str, choice: Choice) -> Fate:
    if mask != BY_PATH:
        return Fate(mask, label, choice.why)
    kept = ", ".join(path for path, made in choice.paths if made == KEEP) or "nothing"
    masked = ", ".join(f"{path} ({made})" for path, made in choice.paths if made != KEEP)
    by_path = f"of its JSON stays: {kept}" + (f"; masked: {masked}" if masked else "")
    return Fate(mask, label, f"{choice.why}; {by_path}; all else goes", choice.paths)


def _shifted(table: Table, subject: str, choice: Choice, rules: _Rules) -> Fate:
    """With the label of the subject's class of foreign keys: its dates in all tables move alike."""
    own = f"{table.full_name}.{subject}"
    label = rules.joined.get(((table.schema, table.name), subject), own)
    why = f"{choice.why}; all dates of one {subject} are moved by the same number of days"
    return Fate(SHIFT, f"shift by {label}", why, subject=subject)


_JOINS_RAW = "raw: it joins tables, and in clear it would join them no more"


def _raw(table: Table, column: Column, choice: Choice, rules: _Rules) -> ColumnPlan:
    """In clear, for it was asked by name; an admin may have it masked as the policy would."""
    fallback = _find_fallback(choice.masks, column, table, rules)
    why = f"asked in clear by name; the policy would mask it: {choice.why}"
    fate = Fate(KEEP, f"{table.full_name}.{column.name}", why)
    return ColumnPlan(column.name, column.type, fate, (), fallback, raw=True)


def _impossible(
    column: Column, label: str, tried: tuple[str, ...]
) -> tuple[ColumnPlan, str | None]:
    fate = Fate("null", label, "no mask is possible here, so the rows of this table stay out")
    problem = f"{column.name} can't be masked ({tried[-1]})"
    return ColumnPlan(column.name, column.type, fate, tried), problem


def _find_fallback(masks: tuple[str, ...], column: Column, table: Table, rules: _Rules) -> str:
    others = (mask for mask in masks if mask not in {KEEP, SHIFT})  # a shift wants its subject
    rest = (mask for mask in others if rules.find_obstacle(mask, column, table) is None)
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


def mask_kept(column: ColumnPlan, why: str) -> ColumnPlan | None:
    """The column masked, by its fallback if it was kept; None when no mask is possible."""
    if not column.kept:
        return column
    if not column.fallback:
        return None
    fate = replace(column.fate, mask=column.fallback, why=why)
    return replace(column, fate=fate, fallback="", raw=False)
