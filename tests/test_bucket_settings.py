"""A bucket in the settings: which are whole, what its own end must be, and what the doctor says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.doctor.places import checks
from broker.errors import SettingsError
from broker.secret import Secret
from broker.settings import Control, Settings, Store, Times
from broker.stores.building import build_store
from broker.stores.lifecycle_rule import count_days, ends_copies, ends_held, make_lifecycle
from tests.seaweed import Seaweed, seaweed

WEEK_S = 7 * 86400


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (Store(), "STORE__BUCKET"),
        (Store(folder=Path("/srv"), bucket="b"), "exclude each other"),
        (Store(bucket="b", access_key=Secret("a")), "STORE__SECRET_KEY"),
        (Store(bucket="b", look_secret=Secret("a")), "STORE__LOOK_KEY"),
    ],
)
def test_settings_that_are_not_whole_are_told_in_a_sentence(settings: Store, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        build_store(settings)


def test_the_rule_that_is_printed_is_one_that_ends_copies() -> None:
    rules = make_lifecycle("eu/", WEEK_S)["Rules"]
    assert ends_copies(rules, "eu/", WEEK_S)
    assert not ends_copies(rules, "us/", WEEK_S)
    assert not ends_copies([], "eu/", WEEK_S)
    assert count_days(1) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"Status": "Disabled"},
        {"Expiration": {"Days": 9}},
        {"Expiration": {"ExpiredObjectDeleteMarker": True}},
        {"Filter": {"Prefix": "snapshots/", "Tag": {"Key": "a", "Value": "b"}}},
        {"Filter": {"Prefix": "snapshots/snp_a/"}},
        {"Filter": {"And": {"Prefix": "snapshots/", "ObjectSizeGreaterThan": 1}}},
    ],
)
def test_a_rule_that_leaves_copies_there_does_not_count(change: dict[str, Any]) -> None:
    rule, _ = make_lifecycle("", WEEK_S)["Rules"]
    assert not ends_copies([{**rule, **change}], "", WEEK_S)


def test_a_rule_that_asks_for_no_tag_ends_what_is_held_too() -> None:
    rule, uploads = make_lifecycle("eu/", WEEK_S)["Rules"]
    assert not ends_held([rule, uploads], "eu/")
    for prefix in ("", "eu/", "eu/snapshots/", "eu/snapshots/snp_a/"):
        assert ends_held([{**rule, "Filter": {"Prefix": prefix}}], "eu/")
    assert not ends_held([{**rule, "Filter": {"Prefix": "us/"}}], "eu/")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with seaweed(tmp_path_factory.mktemp("seaweed"), {"looker": ["List", "Read"]}) as running:
        yield running


def test_the_doctor_says_what_a_bucket_lacks(server: Seaweed) -> None:
    bucket = server.new_bucket()
    chosen = Store(
        bucket=bucket,
        endpoint=server.endpoint,
        region="us-east-1",
        access_key=Secret(server.admin.key),
        secret_key=Secret(server.admin.secret),
    )
    settings = Settings(control=Control(dsn=Secret("none")), store=chosen, times=Times())

    def examine(settings: Settings) -> dict[str, str]:
        return {line.what: line.verdict for line in checks(settings)["store"]()}

    expected = {"store": "ok", "store's looks": "warn", "store's own end": "warn"}
    assert examine(settings) == expected
    looker = server.logins["looker"]
    two = {"look_key": Secret(looker.key), "look_secret": Secret(looker.secret)}
    whole = settings.model_copy(update={"store": chosen.model_copy(update=two)})
    server.client().put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration=make_lifecycle("", settings.times.copy_max_s),
    )
    assert examine(whole) == dict.fromkeys(expected, "ok")
