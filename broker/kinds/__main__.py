"""The page of all kinds: `python -m broker.kinds > docs/audit-events.md`."""

from __future__ import annotations

import sys

from broker.kinds import KINDS

_HEAD = """\
# What a log can say

Made from `broker/kinds/` by `python -m broker.kinds > docs/audit-events.md`; a test fails when it
is not. Every entry of a tenant's log, and of the vendor's own, is one of these. Facts stand in the
entry in clear: ids, digests, instants, numbers and words of ours. Personal fields stand there as
salted commitments; what opens them is in the export for as long as the person was not erased. A
JSON Schema of each is printed by `broker log schemas`.

An entry also has `v` (1), `at` (when its transaction opened), `log` (whose it is), `nonce`, `actor`
(`side` and `via`, and `id` when a person acted) and `subject` (the id of what it is about).

| kind | what it says | about | facts | personal |
|---|---|---|---|---|
"""


def write_page() -> str:
    """`docs/audit-events.md`."""
    lines = []
    for name, kind in sorted(KINDS.items()):
        facts = ", ".join(f"`{fact}` {form}" for fact, form in kind.facts.items())
        personal = ", ".join(f"`{item}`" for item in kind.personal)
        lines.append(f"| `{name}` | {kind.says} | {kind.subject} | {facts} | {personal} |\n")
    return _HEAD + "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(write_page())
