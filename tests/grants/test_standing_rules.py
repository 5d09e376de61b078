"""When a standing approval answers, and what it gives: rules without I/O."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.engines import Fate
from broker.errors import Invalid
from broker.grants.narrowing import Narrowing, Windows, narrow_plan
from broker.grants.plan import ColumnPlan, Plan, TablePlan
from broker.grants.standing_rules import (
    Conditions,
    Wish,
    check_conditions,
    find_given,
    find_misfit,
    fits,
)
from tests.grants.plans import PLAN

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
GIVERS = frozenset({"psn_a"})
CONDITIONS = Conditions("dbs_a", ("1",), ("billing",), 3600, 0, 1, AT + timedelta(days=30))
WISH = Wish("dbs_a", "psn_e", "1", "billing", Windows(3600, 0), 1, AT, 0, by_itself=True)


def test_a_request_within_every_condition_fits() -> None:
    assert find_misfit(CONDITIONS, GIVERS, WISH) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"database_id": "dbs_b"}, "another database"),
        ({"by_itself": False}, "never given in advance"),
        ({"severity": "2"}, "severity"),
        ({"severity": None}, "severity"),
        ({"category": "login"}, "category"),
        ({"category": None}, "category"),
        ({"windows": Windows(3601, 0)}, "live access asked is longer"),
        ({"windows": Windows(0, 1)}, "copy asked lives longer"),
        ({"first_at": AT + timedelta(days=30, seconds=-3599)}, "outlive"),
        ({"used": 1}, "as often as it may be"),
        ({"requester_id": "psn_a"}, "nobody approves what they ask themselves"),
        ({"approvals_needed": 2}, "too few"),
    ],
)
def test_one_condition_that_is_not_met_leaves_it_to_people(
    change: dict[str, object], why: str
) -> None:
    wish = replace(WISH, **change)
    assert why in (find_misfit(CONDITIONS, GIVERS, wish) or "")
    assert not fits(CONDITIONS, GIVERS, wish)


def test_without_anybody_who_still_may_approve_it_answers_nothing() -> None:
    assert not fits(CONDITIONS, frozenset(), WISH)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"severities": (), "categories": ()}, "severities"),
        ({"live_max_s": 0}, "live_max_s"),
        ({"ends_at": AT}, "ends_at"),
        ({"ends_at": AT + timedelta(days=184, seconds=1)}, "ends_at"),
        ({"per_ticket": 0}, "per_ticket"),
        ({"per_ticket": 21}, "per_ticket"),
    ],
)
def test_what_is_not_narrow_or_does_not_end_is_refused(
    change: dict[str, object], named: str
) -> None:
    with pytest.raises(Invalid) as refused:
        check_conditions(replace(CONDITIONS, **change), AT, 184 * 86400)
    assert named in refused.value.facts["fields"]


NAMES = [table.full_name for table in PLAN.tables]
KEPT = [f"{name}.{column}" for name in NAMES for column in ("sector", "total")]
narrowings = st.builds(
    Narrowing,
    st.frozensets(st.sampled_from(NAMES), max_size=2),
    st.frozensets(st.sampled_from(KEPT)),
)


def seen(plan: Plan) -> set[str]:
    """Columns whose rows are read, with `!` where in clear."""
    return {
        f"{table.full_name}.{column.name}{'!' if column.kept else ''}"
        for table in plan.tables
        if table.rows
        for column in table.columns
    }


@given(narrowings, narrowings)
def test_what_it_gives_is_within_what_was_shown_and_within_what_is_asked(
    shown_cut: Narrowing, asked_cut: Narrowing
) -> None:
    shown, asked = narrow_plan(PLAN, shown_cut), narrow_plan(PLAN, asked_cut)
    both = find_given(shown, asked)
    clear = [{name for name in seen(plan) if name.endswith("!")} for plan in (shown, asked)]
    if both is None:
        assert not {n.partition("!")[0] for n in seen(shown)} & {
            n.partition("!")[0] for n in seen(asked)
        }
        return
    assert {name for name in seen(both) if name.endswith("!")} == clear[0] & clear[1]
    assert replace(both, tables=()) == replace(asked, tables=())


def test_a_table_or_column_that_nobody_was_shown_is_not_given() -> None:
    """Also where the masking policy of now would keep it."""
    fresh = ColumnPlan("margin", "numeric", Fate("keep", "", "an amount"), fallback="null")
    companies, *others = PLAN.tables
    secret = TablePlan(
        "crm", "secrets", rows=True, columns=(fresh,), estimated_rows=1, size_bytes=1
    )
    grown = replace(companies, columns=(*companies.columns, fresh))
    asked = replace(PLAN, tables=(grown, *others, secret))
    both = find_given(PLAN, asked)
    assert both is not None
    found = both.find_table("crm.companies")
    hidden = both.find_table("crm.secrets")
    assert found is not None
    assert hidden is not None
    assert found.fates()["margin"].mask == "null"
    assert not hidden.rows


def test_a_mask_that_the_policy_added_since_stays() -> None:
    """What was shown in clear, and is masked in the plan of now, is masked."""
    masked = narrow_plan(PLAN, Narrowing(columns_masked=frozenset({"crm.orders.total"})))
    both = find_given(PLAN, masked)
    assert both is not None
    orders = both.find_table("crm.orders")
    assert orders is not None
    assert orders.fates()["total"].mask == "null"
