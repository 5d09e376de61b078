"""The examples on `/api/docs`: one story, each step an operation as `curl` sends it.

`tests/api/test_examples.py` takes them off the page and runs them in this order, so none can be
wrong. `$NAME` stands for what an earlier step answered, or for what the reader has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.db import Json

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class Example:
    """`who` has the token; `keeps` names what the next steps need: variable -> field answered."""

    who: str
    method: str
    path: str
    body: Json | None = None
    keeps: Mapping[str, str] = field(default_factory=dict)

    def command(self) -> str:
        """For a shell, where `BROKER_URL` and `BROKER_TOKEN` are set."""
        parts = ["curl", '-H "Authorization: Bearer $BROKER_TOKEN"']
        if self.method != "GET":
            parts.append(f"-X {self.method}")
        if self.method == "POST":
            parts.append('-H "Idempotency-Key: $(uuidgen)"')
        if self.body is not None:
            sent = json.dumps(self.body, ensure_ascii=False).replace('"', '\\"')
            parts += ["--json", f'"{sent}"']
        return " ".join([*parts, f'"$BROKER_URL{PREFIX}{self.path}"'])


EXAMPLES: Mapping[str, Example] = {
    "get_me": Example("engineer", "GET", "/me"),
    "list_tickets": Example("engineer", "GET", "/tickets?search=totals&limit=1"),
    "list_databases": Example("engineer", "GET", "/databases?tenant=$TENANT"),
    "request_grant": Example(
        "engineer",
        "POST",
        "/grants",
        {
            "ticket": "$TICKET",
            "database": "$DATABASE",
            "category": "customer_report",
            "reason": "three orders show wrong totals",
            "live_s": 3600,
            "copy_s": 86400,
        },
        {"GRANT": "id"},
    ),
    "get_grant": Example("engineer", "GET", "/grants/$GRANT?wait=10"),
    "get_plan": Example("admin", "GET", "/grants/$GRANT/plan", keeps={"DIGEST": "digest"}),
    "approve_grant": Example(
        "admin", "POST", "/grants/$GRANT/approve", {"shown_digest": "$DIGEST", "live_s": 1800}
    ),
    "list_grants": Example(
        "admin", "GET", "/grants?state=approved&sort=requested_at&since=2026-01-01T00:00:00Z"
    ),
    "ask_lease": Example(
        "engineer",
        "POST",
        "/leases",
        {"grant": "$GRANT", "verifier": "$VERIFIER"},
        {"LEASE": "id"},
    ),
    "get_lease": Example("engineer", "GET", "/leases/$LEASE?wait=10"),
    "end_lease": Example("engineer", "POST", "/leases/$LEASE/end"),
    "order_snapshot": Example(
        "engineer", "POST", "/snapshots", {"grant": "$GRANT"}, {"SNAPSHOT": "id"}
    ),
    "get_snapshot": Example("engineer", "GET", "/snapshots/$SNAPSHOT"),
    "destroy_snapshot": Example("admin", "POST", "/snapshots/$SNAPSHOT/destroy"),
    "end_grant": Example("engineer", "POST", "/grants/$GRANT/end"),
    "list_decisions": Example("admin", "GET", "/grants/$GRANT/decisions"),
    "list_entries": Example("admin", "GET", "/tenants/$TENANT/log/entries?limit=10"),
    "create_token": Example(
        "admin",
        "POST",
        "/tokens",
        {"name": "siem", "days": 90, "scopes": [], "tenants": ["$TENANT"]},
        {"TOKEN": "id"},
    ),
    "list_tokens": Example("admin", "GET", "/tokens"),
    "end_token": Example("admin", "DELETE", "/tokens/$TOKEN"),
}
