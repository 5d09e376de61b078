"""Logs of any length with something of everything, for the two verifiers to agree on."""

from __future__ import annotations

from broker.entries import Json
from tests.audit.world import Log

TERMS: dict[str, Json] = {"digest": "d1", "ends_at": "2027-01-01T00:00:00+00:00"}


def use(standing_id: str) -> dict[str, Json]:
    """Facts of a grant that was approved in advance."""
    return {"standing": standing_id, "terms": "d1"}


def mixed_log(entries: int) -> Log:
    """Grants approved in advance, copies destroyed and certified, names; four checkpoints."""
    log = Log()
    number = 0
    while len(log.entries) < entries:
        number += 1
        steps = [
            lambda n: log.record("standing.given", f"sta_{n}", facts=TERMS),
            lambda n: log.record(
                "grant.approved", f"grt_{n}", facts=use(f"sta_{n}"), side="system"
            ),
            lambda n: log.record("snapshot.ordered", f"snp_{n}", facts={"plan": ["é", {"a": n}]}),
            lambda n: log.record("snapshot.destroyed", f"snp_{n}"),
            lambda n: log.issue(f"crt_{n}", f"snp_{n}"),
            lambda n: log.record("grant.ended", f"grt_{n}", facts={"why": None, "late": False}),
        ]
        for step in steps[: entries - len(log.entries)]:
            step(number)
            if len(log.entries) * 4 % entries < 4:
                log.sign()
    return log
