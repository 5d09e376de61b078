"""Which mask is impossible on which column, and that the answer is a sentence. No server needed."""

from __future__ import annotations

import pytest

from broker.engines import Column, Constraint, Table
from broker.engines.postgres.masks import MASKS, find_obstacle
from broker.errors import Invalid

MAIL = Column("mail", "character varying(40)", "character varying", 40)
NUMBER = Column("n", "bigint", "bigint")
BIRTH = Column("born", "date", "date", not_null=True)


@pytest.mark.parametrize(
    ("mask", "column", "constraint", "part"),
    [
        ("keep", MAIL, Constraint("c", "check", ("mail",)), None),
        ("email", MAIL, Constraint("c", "check", ("mail",)), "CHECK c"),
        ("email", MAIL, Constraint("c", "check", ("n",)), None),
        ("email", MAIL, Constraint("u", "unique", ("mail",)), None),
        ("filler", MAIL, Constraint("u", "unique", ("mail",)), "unique constraint u"),
        ("constant", MAIL, Constraint("u", "unique", ("mail", "n")), "unique constraint u"),
        ("null", MAIL, Constraint("u", "unique", ("mail",)), None),
        ("email", MAIL, Constraint("u", "unique", ("mail",), expression=True), "index u"),
        ("null", MAIL, Constraint("u", "unique", ("mail",), expression=True), "index u"),
        ("email", MAIL, Constraint("x", "exclusion", ("mail",)), "exclusion constraint x"),
        ("token", NUMBER, Constraint("p", "primary", ("n",)), "unique constraint p"),
        ("token", NUMBER, Constraint("f", "foreign", ("n",)), "foreign key f"),
        ("token", NUMBER, Constraint("u", "unique", ("mail",)), None),
        ("token", MAIL, Constraint("f", "foreign", ("mail",)), None),
        ("filler", MAIL, Constraint("f", "foreign", ("mail",)), "foreign key f"),
        ("null", MAIL, Constraint("f", "foreign", ("mail",)), None),
        ("null", MAIL, Constraint("f", "foreign", ("mail", "n")), "foreign key f"),
        ("year", BIRTH, Constraint("u", "unique", ("mail",)), None),
        ("year", BIRTH, Constraint("u", "primary", ("born",)), "unique constraint u"),
        ("null", BIRTH, Constraint("u", "unique", ("mail",)), "may not be NULL"),
        ("token", BIRTH, Constraint("u", "unique", ("mail",)), "not made for type date"),
    ],
)
def test_what_a_constraint_forbids_is_told_in_a_sentence(
    mask: str, column: Column, constraint: Constraint, part: str | None
) -> None:
    found = find_obstacle(mask, column, Table("s", "t", "table", (column,), (constraint,)))
    assert (found is None) if part is None else (found is not None and part in found)


@pytest.mark.parametrize(
    ("mask", "column", "part"),
    [
        ("token", Column("a", "varchar(23)", "character varying", 23), "24 characters"),
        ("token", Column("a", "varchar(24)", "character varying", 24), None),
        ("email", Column("a", "char(32)", "character", 32), "33 characters"),
        ("email", Column("a", "name", "name"), None),
        ("constant", Column("a", "s.mood", "s.mood", enum=True, tenant_type=True), "s.mood"),
        ("null", Column("a", "s.mood", "s.mood", enum=True, tenant_type=True), None),
        ("filler", Column("a", "s.d", "text", domain="s.d", tenant_type=True), None),
        ("filler", Column("a", "s.d", "text", domain="s.d", domain_checks=True), "domain s.d"),
        ("token", Column("key", "text", "text"), "partitions"),
        ("null", Column("key", "text", "text", not_null=True, generated=True), None),
        ("constant", Column("a", "s.mood[]", "s.mood[]", tenant_type=True), None),
        ("year", Column("a", "time", "time without time zone"), "not made"),
    ],
)
def test_what_a_column_forbids_is_told_in_a_sentence(
    mask: str, column: Column, part: str | None
) -> None:
    found = find_obstacle(mask, column, Table("s", "t", "table", (column,), partition_key=("key",)))
    assert (found is None) if part is None else (found is not None and part in found)


def test_a_mask_that_does_not_exist_is_no_obstacle_but_an_error() -> None:
    with pytest.raises(Invalid, match="blur"):
        find_obstacle("blur", MAIL, Table("s", "t", "table", (MAIL,)))


def test_masks_tell_what_they_are() -> None:
    assert {name for name, mask in MASKS.items() if not mask.hides} == {"keep"}
    joining = {name for name, mask in MASKS.items() if mask.keeps_join and mask.hides}
    assert joining == {"token", "email", "company", "username", "url", "uuid4"}
    assert all(mask.injective for mask in MASKS.values() if mask.keeps_join)
    assert all(mask.summary.endswith(".") for mask in MASKS.values())
