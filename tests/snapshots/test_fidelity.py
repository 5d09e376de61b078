"""The report says what a copy is not, so that a fault that hides in it is understood."""

from __future__ import annotations

from dataclasses import replace

from broker.snapshots.contents import SealedTable
from broker.snapshots.fidelity import Locales, make_report
from tests.grants.plans import PLAN

COMPANIES = SealedTable(("table-00000",), "crm", "companies", ("id",), 3)
ONE = replace(
    PLAN,
    tables=(PLAN.tables[0], replace(PLAN.tables[1], rows=False, note="left out by the decision")),
    remarks=("not copied: an event trigger",),
)
SAME = Locales("C.UTF-8", "C.UTF-8")


def test_it_names_masked_columns_empty_tables_and_what_was_not_copied() -> None:
    report = make_report(ONE, [COMPANIES], [], ["crm.notes is new: structure only"], SAME)
    assert report["masked"] == {"crm.companies": {"email": "email"}}
    assert report["rows"] == {"crm.companies": 3}
    assert report["structure_only"] == {"crm.orders": "left out by the decision"}
    assert report["drift"] == ["crm.notes is new: structure only"]
    assert report["differs"][0] == "not copied: an event trigger"
    assert not any("sort" in sentence for sentence in report["differs"])


def test_another_order_of_texts_and_rows_of_others_are_told() -> None:
    shared = replace(ONE, tables=(replace(ONE.tables[0], whose="rows with its key"),))
    told = make_report(shared, [COMPANIES], [], [], Locales("fr_FR.UTF-8", "C"))["differs"]
    assert "texts sort by C, in production by fr_FR.UTF-8" in told
    assert any("only this customer's rows" in sentence for sentence in told)
