"""The page about masks, made from the code: `python -m broker.engines.postgres.mask_docs`.

`docs/masking.md` is this page, committed; a test fails when it is not.
"""

from __future__ import annotations

import sys

from broker.engines import Column
from broker.engines.postgres.constants import list_types
from broker.engines.postgres.mask import Mask
from broker.engines.postgres.masks import MASKS

_HEAD = """# Masks

Made from the code; change the code, then run `python -m broker.engines.postgres.mask_docs`.

A mask runs inside the tenant's server, in the query that reads, with functions of PostgreSQL's own
alone. `config/masking.toml` says which column gets which; what nobody classified is masked. NULL
stays NULL, and a value becomes NULL by `null` alone. A *keyed* mask gives the same for the same
value within a copy, and something else in the next copy: its key dies with the copy. *Unique* masks
give different values for different ones, so they fit unique columns; *joining* ones also fit both
ends of a foreign key. A keyed mask is a pseudonym, not anonymity: whoever had the key could try
values one by one.

Of a JSON document `json_paths` keeps or masks the scalars that a rule names by path (see the head
of `config/masking.toml`), and the plan shows each path; every other key and value goes, also an
object that stands where a string was named. Of two equal keys in `json` the last counts.

`shift` wants a `subject` in its rule, a pattern of columns that say whose a row is
(`customer_id`). All dates of one of them move alike, in every table that a foreign key ties to it:
what came first comes first, and after as many days.

| mask | what becomes of a value | keeps | risk | keyed | unique | joining |
|---|---|---|---|---|---|---|
"""
_ALSO = ("text[]", "crm.kind", "crm.citext")


def sample_column(mask: Mask) -> Column | None:
    """A column of the first type that the mask is made for."""
    columns = [Column("c", name, name, enum=name == "crm.kind") for name in (*list_types(), *_ALSO)]
    return next((column for column in columns if mask.fits(column)), None)


def make_page() -> str:
    rows = "".join(
        f"| `{m.name}` | {m.summary} | {m.keeps} | {m.risk} |"
        f" {_yes(m.needs_key)} | {_yes(m.injective)} | {_yes(m.keeps_join)} |\n"
        for m in MASKS.values()
    )
    return _HEAD + rows + "\n## SQL\n\n" + "\n".join(_show_sql(m) for m in MASKS.values())


def _yes(fact: bool) -> str:  # noqa: FBT001  # a cell of a table
    return "yes" if fact else ""


def _show_sql(mask: Mask) -> str:
    column = sample_column(mask)
    if column is None:
        return ""
    text = mask.expression(column, "label").as_string(None)
    return f"`{mask.name}`, for a column `c` of type `{column.type}`:\n\n```sql\n{text}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(make_page())
