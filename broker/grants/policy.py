"""The masking policy as data: `config/masking.toml` read into frozen rules, without I/O after that.

What nobody classified is masked (G5): there is no way to write a default of `keep`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from broker.engines import Column, Table
from broker.engines.json_paths import read_paths
from broker.errors import Invalid, SettingsError

_UNREADABLE = (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, re.error)
ANY_TYPE = "*"
KEEP = "keep"
BY_PATH = "json_paths"
SHIFT = "shift"
Paths = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    why: str
    masks: tuple[str, ...]
    columns: re.Pattern[str] | None = None
    tables: re.Pattern[str] | None = None
    types: frozenset[str] | None = None
    key: bool = False
    never_raw: bool = False  # nobody sees it in clear, whoever asks
    paths: Paths = ()  # into JSON, for the mask `json_paths`
    subject: re.Pattern[str] | None = None  # of columns that say whose the row is, for `shift`

    def matches(self, table: Table, column: Column) -> bool:
        return (
            (self.columns is None or self.columns.fullmatch(column.name.lower()) is not None)
            and (self.tables is None or self.tables.fullmatch(table.name.lower()) is not None)
            and (self.types is None or column.base_type in self.types)
            and (not self.key or _is_key(table, column.name))
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """Masks to try in order, and why, as a sentence for the plan."""

    masks: tuple[str, ...]
    why: str
    paths: Paths = ()
    subject: re.Pattern[str] | None = None

    def find_subject(self, table: Table, of: Column) -> str | None:
        """The first column of the table that says whose a row is."""
        names = (column.name for column in table.columns if column.name != of.name)
        wanted = self.subject
        return next((n for n in names if wanted and wanted.fullmatch(n.lower())), None)


@dataclass(frozen=True, slots=True)
class Policy:
    version: int
    rules: tuple[Rule, ...]
    defaults: Mapping[str, tuple[str, ...]]

    def choose(self, table: Table, column: Column) -> Choice:
        """The first rule that matches decides; then come the type's defaults, which never keep."""
        default = self.defaults.get(column.base_type, self.defaults[ANY_TYPE])
        for rule in self.rules:
            if rule.matches(table, column):
                rest = tuple(mask for mask in default if mask not in rule.masks)
                return Choice((*rule.masks, *rest), rule.why, rule.paths, rule.subject)
        return Choice(default, "nobody classified this column, so it is masked")

    def find_never_raw(self, table: Table, column: Column) -> str | None:
        """Why the column is never shown in clear; None if it may be asked. Any rule counts."""
        rules = (rule for rule in self.rules if rule.never_raw and rule.matches(table, column))
        return next((rule.why for rule in rules), None)


def _is_key(table: Table, column: str) -> bool:
    return any(c.kind in {"primary", "foreign"} and column in c.columns for c in table.constraints)


def load_policy(
    file: Path, masks: frozenset[str], text_masks: frozenset[str] = frozenset()
) -> Policy:
    """Read and check the policy; `text_masks` are those that JSON paths may name. Raises
    SettingsError with one sentence.
    """
    try:
        data = tomllib.loads(file.read_text())
        rules = tuple(_rule(entry, masks, text_masks) for entry in data.get("rule", []))
        defaults = {name: tuple(chain) for name, chain in data["defaults"].items()}
        version = int(data["version"])
    except (*_UNREADABLE, Invalid) as error:
        raise SettingsError(f"the masking policy {file} can't be read: {error!r}") from None
    for name, chain in defaults.items():
        unknown = set(chain) - masks
        if unknown or {KEEP, BY_PATH, SHIFT} & set(chain) or not chain:
            raise SettingsError(
                f"the default {name!r} of {file} must name known masks and never {KEEP!r}, nor "
                f"{BY_PATH!r}, which wants paths, nor {SHIFT!r}, which wants a subject"
            )
    if ANY_TYPE not in defaults:
        raise SettingsError(f"{file} has no default for {ANY_TYPE!r}")
    return Policy(version, rules, defaults)


def _rule(entry: dict[str, object], masks: frozenset[str], text_masks: frozenset[str]) -> Rule:
    known = {"name", "why", "masks", "columns", "tables", "types", "key", "never_raw", "paths"}
    known.add("subject")
    if set(entry) - known:
        msg = f"unknown keys {sorted(set(entry) - known)} in rule {entry.get('name')!r}"
        raise ValueError(msg)
    chain, types = entry["masks"], entry.get("types")
    if not isinstance(chain, list) or not chain or set(chain) - masks:
        msg = f"rule {entry.get('name')!r} names masks that do not exist"
        raise ValueError(msg)
    if (SHIFT in chain) != ("subject" in entry):
        msg = f"rule {entry.get('name')!r}: {SHIFT!r} and a subject want each other"
        raise ValueError(msg)
    return Rule(
        name=str(entry["name"]),
        why=str(entry["why"]),
        masks=tuple(chain),
        columns=re.compile(str(entry["columns"])) if "columns" in entry else None,
        tables=re.compile(str(entry["tables"])) if "tables" in entry else None,
        types=frozenset(types) if isinstance(types, list) else None,
        key=bool(entry.get("key", False)),
        never_raw=bool(entry.get("never_raw", False)),
        paths=_paths(entry, text_masks) if BY_PATH in chain or "paths" in entry else (),
        subject=re.compile(str(entry["subject"])) if "subject" in entry else None,
    )


def _paths(entry: dict[str, object], text_masks: frozenset[str]) -> Paths:
    """In order of their names, so that equal policies give equal plans."""
    name, given, chain = entry.get("name"), entry.get("paths"), entry["masks"]
    if not isinstance(given, dict) or not given or not isinstance(chain, list):
        msg = f"rule {name!r} names {BY_PATH!r}, which wants paths"
        raise TypeError(msg)
    if BY_PATH not in chain or KEEP in chain:
        msg = f"the paths of rule {name!r} want {BY_PATH!r} among its masks, and not {KEEP!r}"
        raise ValueError(msg)
    paths = tuple(sorted((str(path), str(mask)) for path, mask in given.items()))
    for path, mask in paths:
        if mask != KEEP and mask not in text_masks:
            msg = f"rule {name!r}: {mask!r} can't mask the string at {path!r}"
            raise ValueError(msg)
    read_paths(paths)
    return paths
