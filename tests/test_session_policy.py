"""What a session may do, as a rule without a service."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Invalid
from broker.storages import check_place, overlap
from broker.stores.session_policy import make_cut_policy, make_session_policy


def test_a_session_reads_and_lists_below_one_prefix() -> None:
    policy = json.loads(make_session_policy("objects", "tenant-a/in/"))
    reading, listing = policy["Statement"]
    assert reading["Action"] == ["s3:GetObject"]
    assert reading["Resource"] == ["arn:aws:s3:::objects/tenant-a/in/*"]
    assert listing["Action"] == ["s3:ListBucket"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["tenant-a/in/*"]}}
    assert {one["Effect"] for one in policy["Statement"]} == {"Allow"}


def test_another_partition_has_its_own_names() -> None:
    assert "arn:aws-cn:s3:::objects/a/*" in make_session_policy("objects", "a/", "aws-cn")


@given(st.text(max_size=30))
def test_whatever_place_is_taken_means_itself_in_a_policy(text: str) -> None:
    try:
        check_place("objects", text)
    except Invalid:
        return
    assert text.endswith("/")
    assert not set(text) & set('*?$"\\\n ')
    assert json.loads(make_session_policy("objects", text))["Statement"][0]["Resource"] == [
        f"arn:aws:s3:::objects/{text}*"
    ]


@pytest.mark.parametrize(
    "prefix", ["", "/", "a", "a//", "/a/", "a/*/", "a?/", "${aws:userid}/", "../", "a/./", "a/\n/"]
)
def test_a_prefix_that_could_mean_more_is_refused(prefix: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_place("objects", prefix)
    assert "prefix" in refused.value.facts["fields"]


def test_prefixes_overlap_when_they_share_an_object() -> None:
    assert overlap("a/", "a/b/")
    assert overlap("a/b/", "a/")
    assert not overlap("a/", "ab/")


def test_the_cut_voids_what_was_issued_before_it() -> None:
    (statement,) = json.loads(make_cut_policy(datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)))[
        "Statement"
    ]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {
        "DateLessThan": {"aws:TokenIssueTime": "2027-01-02T03:04:05Z"}
    }
