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
from broker.errors import SettingsError

ANY_TYPE = "*"
KEEP = "keep"


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
                return Choice((*rule.masks, *rest), rule.why)
        return Choice(default, "nobody classified this column, so it is masked")

    def find_never_raw(self, table: Table, column: Column) -> str | None:
        """Why the column is never shown in clear; None if it may be asked. Any rule counts."""
        rules = (rule for rule in self.rules if rule.never_raw and rule.matches(table, column))
        return next((rule.why for rule in rules), None)


def _is_key(table: Table, column: str) -> bool:
    return any(c.kind in {"primary", "foreign"} and column in c.columns for c in table.constraints)


def load_policy(file: Path, masks: frozenset[str]) -> Policy:
    """Read and check the policy. Raises SettingsError with one sentence."""
    try:
        data = tomllib.loads(file.read_text())
        rules = tuple(_rule(entry, masks) for entry in data.get("rule", []))
        defaults = {name: tuple(chain) for name, chain in data["defaults"].items()}
        version = int(data["version"])
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, re.error) as error:
        raise SettingsError(f"the masking policy {file} can't be read: {error!r}") from None
    for name, chain in defaults.items():
        unknown = set(chain) - masks
        if unknown or KEEP in chain or not chain:
            raise SettingsError(
                f"the default {name!r} of {file} must name known masks and never {KEEP!r}"
            )
    if ANY_TYPE not in defaults:
        raise SettingsError(f"{file} has no default for {ANY_TYPE!r}")
    return Policy(version, rules, defaults)


def _rule(entry: dict[str, object], masks: frozenset[str]) -> Rule:
    known = {"name", "why", "masks", "columns", "tables", "types", "key", "never_raw"}
    if set(entry) - known:
        msg = f"unknown keys {sorted(set(entry) - known)} in rule {entry.get('name')!r}"
        raise ValueError(msg)
    chain, types = entry["masks"], entry.get("types")
    if not isinstance(chain, list) or not chain or set(chain) - masks:
        msg = f"rule {entry.get('name')!r} names masks that do not exist"
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
    )
