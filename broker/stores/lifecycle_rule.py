"""The rule by which a bucket ends copies by itself: the dead man's end of the objects (G14).

It stands in the bucket and needs nobody of ours. Days are whole, so it comes later than the broker
and than `broker reap`; it is for the day on which neither runs.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_ID = "broker-copies-end"
# A tag of each object, which a legal hold takes away.
ENDS_BY_RULE = ("broker-end", "rule")
_DAY_S = 86400


def make_lifecycle(base: str, copy_max_s: int) -> dict[str, Any]:
    """The configuration, as `aws s3api put-bucket-lifecycle-configuration` takes it.

    Two rules, for that of uploads may not ask for a tag.
    """
    prefix, (key, value) = f"{base}snapshots/", ENDS_BY_RULE
    tagged = {"And": {"Prefix": prefix, "Tags": [{"Key": key, "Value": value}]}}
    return {
        "Rules": [
            {
                "ID": _ID,
                "Status": "Enabled",
                "Filter": tagged,
                "Expiration": {"Days": count_days(copy_max_s)},
                "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            },
            {
                "ID": f"{_ID}-uploads",
                "Status": "Enabled",
                "Filter": {"Prefix": prefix},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
            },
        ]
    }


def count_days(copy_max_s: int) -> int:
    """Whole days that no copy may live longer than, and one more."""
    return -(-copy_max_s // _DAY_S) + 1


def ends_copies(rules: Iterable[Mapping[str, Any]], base: str, copy_max_s: int) -> bool:
    """Whether a rule is on that ends every object of a copy soon enough."""
    return any(_does_it_end(rule, f"{base}snapshots/", count_days(copy_max_s)) for rule in rules)


def ends_held(rules: Iterable[Mapping[str, Any]], base: str) -> bool:
    """Whether a rule is on that ends objects which a legal hold is to keep: it asks for no tag."""
    prefix = f"{base}snapshots/"
    return any(
        rule.get("Status") == "Enabled"
        and rule.get("Expiration", {}).get("Days", 0) > 0
        and not _asked_tags(rule)
        and (_asked_prefix(rule).startswith(prefix) or prefix.startswith(_asked_prefix(rule)))
        for rule in rules
    )


def _does_it_end(rule: Mapping[str, Any], prefix: str, days: int) -> bool:
    covers = prefix.startswith(_asked_prefix(rule))
    chosen = rule.get("Filter", {})
    narrowed = {*chosen, *chosen.get("And", {})} - {"Prefix", "And", "Tags"}
    ours = _asked_tags(rule) in ([], [ENDS_BY_RULE])
    ends = 0 < rule.get("Expiration", {}).get("Days", 0) <= days
    return rule.get("Status") == "Enabled" and covers and ours and not narrowed and ends


def _asked_prefix(rule: Mapping[str, Any]) -> str:
    chosen = rule.get("Filter", {})
    return str(chosen.get("And", chosen).get("Prefix", rule.get("Prefix", "")))


def _asked_tags(rule: Mapping[str, Any]) -> list[tuple[str, str]]:
    chosen = rule.get("Filter", {})
    tags = chosen.get("And", {}).get("Tags", []) or [t for t in [chosen.get("Tag")] if t]
    return [(tag["Key"], tag["Value"]) for tag in tags]
