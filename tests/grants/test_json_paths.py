"""Paths into JSON: in the policy, in the plan that is approved, and never more after that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from broker.engines import Catalogue, Column, Table
from broker.engines.postgres.masks import MASKS, TEXT_MASKS, find_obstacle
from broker.errors import SettingsError
from broker.grants.drift import more_masked
from broker.grants.plan import Plan, from_document, make_plan
from broker.grants.policy import Policy, load_policy

RULE = """
version = 1
[[rule]]
name = "settings"
columns = "settings"
masks = ["json_paths"]
why = "settings hold values"
paths = {paths}
[defaults]
"*" = ["null"]
"""
TABLE = Table("s", "t", "table", (Column("settings", "jsonb", "jsonb"),))


def policy(folder: Path, paths: str) -> Policy:
    file = folder / "masking.toml"
    file.write_text(RULE.replace("{paths}", paths))
    return load_policy(file, frozenset(MASKS), TEXT_MASKS)


def plan(folder: Path, paths: str) -> Plan:
    return make_plan(policy(folder, paths), Catalogue(170000, (TABLE,)), find_obstacle)


def test_the_plan_names_each_path_and_its_digest_covers_them(tmp_path: Path) -> None:
    made = plan(tmp_path, '{ status = "keep", "customer.email" = "email" }')
    (column,) = made.tables[0].columns
    assert column.fate.why == (
        "settings hold values; of its JSON stays: status; masked: customer.email (email); "
        "all else goes"
    )
    assert not column.kept
    assert from_document(made.document()) == made
    assert made.digest() != plan(tmp_path, '{ status = "keep" }').digest()


def test_a_path_that_the_policy_names_later_is_not_read_for_what_was_approved(
    tmp_path: Path,
) -> None:
    approved = plan(tmp_path, '{ status = "keep" }')
    wider = plan(tmp_path, '{ status = "keep", "customer.email" = "keep" }')
    carried_out, _ = more_masked(approved, replace(wider, policy_version=2))
    assert carried_out.tables[0].columns[0].fate.paths == (("status", "keep"),)


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ("{}", "wants paths"),
        ('{ a = "year" }', "can't mask the string at 'a'"),
        ('{ a = "null" }', "can't mask the string at 'a'"),
        ('{ "a..b" = "keep" }', "can't be read"),
        ('{ a = "keep", "\\"a\\"" = "token" }', "named twice"),
    ],
)
def test_a_policy_with_a_path_that_means_nothing_is_refused(
    tmp_path: Path, paths: str, words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        policy(tmp_path, paths)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('["json_paths"]', '["null"]'),
        ('["json_paths"]', '["json_paths", "keep"]'),
        ('"*" = ["null"]', '"*" = ["json_paths"]'),
        ('paths = { a = "keep" }', ""),
    ],
)
def test_paths_and_their_mask_go_together(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "masking.toml"
    file.write_text(RULE.replace("{paths}", '{ a = "keep" }').replace(old, new))
    with pytest.raises(SettingsError, match="paths"):
        load_policy(file, frozenset(MASKS), TEXT_MASKS)
