"""What a session on a tenant's objects may do: pure rules, in the words of AWS IAM policies.

A session policy only narrows what the role itself may (the two intersect), so the role's own policy
is the outer bound. Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html
(session policies) and .../AmazonS3/latest/userguide/security_iam_service-with-iam.html.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

_VERSION = "2012-10-17"


def make_session_policy(bucket: str, prefix: str, partition: str = "aws") -> str:
    """Reading and listing what stands under `prefix`, which ends in `/`, and nothing else."""
    there = f"arn:{partition}:s3:::{bucket}"
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{there}/{prefix}*"]},
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [there],
            "Condition": {"StringLike": {"s3:prefix": [f"{prefix}*"]}},
        },
    ]
    return _document(statements)


def make_cut_policy(at: datetime) -> str:
    """For the role itself: void is every session that was issued before `at`, of every tenant.

    AWS ends no single session; this is its one way to end them all before their time:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html
    """
    before = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"DateLessThan": {"aws:TokenIssueTime": before}}
    return _document(
        [{"Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Condition": condition}]
    )


def _document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": _VERSION, "Statement": statements}, separators=(",", ":"))
