"""Dates shifted by subject: in the policy, in the plan that is approved, and after drift."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.engines import Catalogue, Column, Constraint, Table
from broker.engines.postgres.masks import MASKS, find_obstacle
from broker.errors import SettingsError
from broker.grants.drift import more_masked
from broker.grants.plan import Plan, from_document, make_plan
from broker.grants.policy import Policy, load_policy

RULE = """
version = 1
[[rule]]
name = "dates"
types = ["date"]
masks = ["shift", "year"]
why = "when something happened"
subject = "id|person_id"
[[rule]]
name = "keys"
types = ["integer"]
masks = ["keep"]
why = "a number"
[defaults]
"*" = ["null"]
"""
ID, PERSON = Column("id", "integer", "integer"), Column("person_id", "integer", "integer")
DAY = Column("day", "date", "date")
PEOPLE = Table("s", "people", "table", (ID, DAY))
KEY = Constraint("k", "foreign", ("person_id",), ("s", "people"), ("id",))
VISITS = Table("s", "visits", "table", (DAY, PERSON), (KEY,))
ALONE = Table("s", "alone", "table", (DAY,))


def policy(folder: Path, text: str = RULE) -> Policy:
    file = folder / "masking.toml"
    file.write_text(text)
    return load_policy(file, frozenset(MASKS))


def plan(folder: Path, *tables: Table) -> Plan:
    return make_plan(policy(folder), Catalogue(170000, tables), find_obstacle)


def test_tables_tied_by_a_key_shift_alike_and_one_without_a_subject_is_masked_otherwise(
    tmp_path: Path,
) -> None:
    made = plan(tmp_path, ALONE, PEOPLE, VISITS)
    fates = {table.name: table.fates()["day"] for table in made.tables}
    assert (fates["people"].mask, fates["people"].subject) == ("shift", "id")
    assert (fates["visits"].mask, fates["visits"].subject) == ("shift", "person_id")
    assert fates["people"].label == fates["visits"].label
    assert "all dates of one person_id" in fates["visits"].why
    assert fates["alone"].mask == "year"
    assert made.tables[0].columns[0].obstacles == (
        "shift: no column of the table says whose a row is",
    )
    assert from_document(made.document()) == made


def test_a_date_whose_subject_is_gone_is_masked_by_what_is_left(tmp_path: Path) -> None:
    approved = plan(tmp_path, VISITS)
    fresh = plan(tmp_path, Table("s", "visits", "table", (DAY,)))
    carried_out, drift = more_masked(approved, fresh)
    assert carried_out.tables[0].fates()["day"].mask == "year"
    assert drift == ("s.visits.day has lost person_id, by which it was shifted: year",)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('subject = "id|person_id"', ""),
        ('masks = ["shift", "year"]', 'masks = ["year"]'),
        ('"*" = ["null"]', '"*" = ["shift"]'),
    ],
)
def test_a_shift_and_a_subject_want_each_other(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(SettingsError, match="subject"):
        policy(tmp_path, RULE.replace(old, new))
