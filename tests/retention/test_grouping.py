"""What is kept to improve: no row of fewer than K customers, and no record in two rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.retention.improving import ANY, Grouped, Incident, K, group

WORDS = st.sampled_from(["export", "import", "sign-in", "invoices"])
INCIDENTS = st.lists(
    st.builds(
        Incident,
        customer=st.integers(0, 12).map("tnt_{}".format),
        about=WORDS,
        severity=st.sampled_from(["1", "2", "3"]),
        kind=st.sampled_from(["incident", "report"]),
        hours=st.floats(0, 500),
    ),
    max_size=60,
)


@given(INCIDENTS)
def test_every_record_is_kept_once_or_left_out(incidents: list[Incident]) -> None:
    found = group(incidents)
    assert sum(row.records for row in found.rows) + found.left_out == len(incidents)
    assert found.grouped <= len(incidents)
    keys = [(row.about, row.severity, row.kind) for row in found.rows]
    assert len(keys) == len(set(keys))


@given(INCIDENTS)
def test_no_row_speaks_of_fewer_than_k_customers(incidents: list[Incident]) -> None:
    """Counted apart from the rule: a row's records are among those that its words can mean."""
    for row in group(incidents).rows:
        meant = {
            one.customer
            for one in incidents
            if row.about in {ANY, one.about}
            and row.severity in {ANY, one.severity}
            and row.kind in {ANY, one.kind}
        }
        assert len(meant) >= K
        assert row.records >= K


def test_one_customers_many_incidents_are_not_many_customers() -> None:
    alone = [Incident("tnt_1", "export", "1", "incident", 2.0)] * 50
    assert group(alone) == Grouped((), 0, 50)
    others = [Incident(f"tnt_{n}", "import", str(n), "report", 1.0) for n in range(2, 5)]
    assert group([*alone, *others]).left_out == 53
    fifth = Incident("tnt_9", "invoices", "3", "report", 1.0)
    (row,) = group([*alone, *others, fifth]).rows
    assert (row.about, row.severity, row.kind, row.records) == (ANY, ANY, ANY, 54)
