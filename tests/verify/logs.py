"""Logs of any length with something of everything, for the two verifiers to agree on."""

from __future__ import annotations

from tests.audit.world import Log


def mixed_log(entries: int) -> Log:
    """Grants that end, copies that are destroyed and certified, names; four checkpoints."""
    log = Log()
    number = 0
    while len(log.entries) < entries:
        number += 1
        steps = [
            lambda n: log.record("grant.approved", f"grt_{n}"),
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
