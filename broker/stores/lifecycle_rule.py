"""The rule by which a bucket ends copies by itself: the dead man's end of the objects (G14).

It stands in the bucket and needs nobody of ours. Days are whole, so it comes later than the broker
and than `broker reap`; it is for the day on which neither runs.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_ID = "broker-copies-end"
_DAY_S = 86400


def make_lifecycle(base: str, copy_max_s: int) -> dict[str, Any]:
    """The configuration, as `aws s3api put-bucket-lifecycle-configuration` takes it."""
    return {
        "Rules": [
            {
                "ID": _ID,
                "Status": "Enabled",
                "Filter": {"Prefix": f"{base}snapshots/"},
                "Expiration": {"Days": count_days(copy_max_s)},
                "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
            }
        ]
    }


def count_days(copy_max_s: int) -> int:
    """Whole days that no copy may live longer than, and one more."""
    return -(-copy_max_s // _DAY_S) + 1


def ends_copies(rules: Iterable[Mapping[str, Any]], base: str, copy_max_s: int) -> bool:
    """Whether a rule is on that ends every object of a copy soon enough."""
    return any(_does_it_end(rule, f"{base}snapshots/", count_days(copy_max_s)) for rule in rules)


def _does_it_end(rule: Mapping[str, Any], prefix: str, days: int) -> bool:
    chosen = rule.get("Filter", {})
    covers = prefix.startswith(chosen.get("Prefix", rule.get("Prefix", "")))
    narrowed = set(chosen) - {"Prefix"}
    ends = 0 < rule.get("Expiration", {}).get("Days", 0) <= days
    return rule.get("Status") == "Enabled" and covers and not narrowed and ends
