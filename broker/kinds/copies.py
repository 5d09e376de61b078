"""Kinds of entry about copies, and what the janitor finds."""

from __future__ import annotations

from collections.abc import Mapping

from broker.kinds.forms import CERTIFICATE, ENDS, FOUND, WHY, Kind

COPIES: Mapping[str, Kind] = {
    # Snapshots: copies.
    "snapshot.ordered": Kind(
        "A copy was ordered under a grant.",
        "snapshot",
        {"grant": "id", "plan": "digest", "server": "id", **ENDS},
    ),
    "snapshot.copying": Kind("A worker began to copy.", "snapshot"),
    "snapshot.ready": Kind(
        "The copy is masked, sealed, loaded and checked.",
        "snapshot",
        {
            "tables": "number",
            "rows": "number",
            "manifest": "digest",
            "plan": "digest",
            "drift": "number",
        },
    ),
    "snapshot.reset_asked": Kind("The sandbox is to be loaded afresh.", "snapshot"),
    "snapshot.reset": Kind(
        "The sandbox was loaded afresh from the sealed copy.", "snapshot", {"manifest": "digest"}
    ),
    "snapshot.reset_refused": Kind("The sandbox could not be loaded afresh.", "snapshot", WHY),
    "snapshot.condemned": Kind("The copy must be destroyed; no way back.", "snapshot", WHY),
    "snapshot.attested": Kind(
        "Its requester said what was taken out of the copy by hand: `nothing`, `erased` since, or "
        "`kept`.",
        "snapshot",
        {"took": "word"},
    ),
    "hold.asked": Kind(
        "A privacy officer asked that a copy's sealed form be kept: a legal hold.",
        "hold",
        {"snapshot": "id", "basis": "word", "days": "number"},
        ("reason", "order"),
    ),
    "hold.begun": Kind(
        "The hold is in force: the customer agreed, or an authority ordered it.",
        "hold",
        {"snapshot": "id", "basis": "word", **ENDS},
    ),
    "hold.refused": Kind("The customer refused the hold.", "hold", {"snapshot": "id"}),
    "hold.closed": Kind(
        "The held copy has no login and no sandbox, and its key refuses to unwrap.",
        "hold",
        {"snapshot": "id"},
    ),
    "hold.ended": Kind(
        "The hold is over; a condemned copy is destroyed.", "hold", {"snapshot": "id", **WHY}
    ),
    "key.erased": Kind("The copy's key was erased.", "snapshot", {"key": "id"}),
    "snapshot.searched": Kind(
        "Before its sandbox was dropped, real values were searched for in it; `columns` had some.",
        "snapshot",
        {"canaries": "number", "columns": "number"},
    ),
    "snapshot.stuck": Kind(
        "A destruction does not go on; it is tried for ever.", "snapshot", {"problems": "number"}
    ),
    "snapshot.destroyed": Kind(
        "Fresh looks found nothing of the copy.",
        "snapshot",
        {"looks": "number", "attempts": "number"},
    ),
    "look.passed": Kind(
        "A later look found nothing of a destroyed copy.",
        "snapshot",
        {"of": "id", "after_s": "number", "places": "number"},
    ),
    "certificate.issued": Kind("A destruction was certified.", "certificate", CERTIFICATE),
    "certificate.stamped": Kind(
        "A third party put its time to a certificate; `digest` is of its answer (RFC 3161).",
        "certificate",
        {"digest": "digest", "said_at": "instant"},
    ),
    "certificate.revoked": Kind(
        "A certificate was wrong: a part was found.",
        "certificate",
        {**CERTIFICATE, "remnant": "id"},
    ),
    "remnant.condemned": Kind(
        "A part of a destroyed copy was found and must be destroyed.",
        "remnant",
        {"snapshot": "id", "kinds": "word", "by": "word"},
    ),
    "remnant.stuck": Kind(
        "A remnant's destruction does not go on; it is tried for ever.",
        "remnant",
        {"problems": "number"},
    ),
    "remnant.destroyed": Kind(
        "Fresh looks found nothing of the remnant.",
        "remnant",
        {"snapshot": "id", "looks": "number", "attempts": "number"},
    ),
    # What the janitor finds.
    "orphan.found": Kind("Something of ours stood there without a live row.", "find", FOUND),
    "orphan.ended": Kind("The orphan is gone.", "find", FOUND),
    "remnant.found": Kind("A part of a destroyed copy stood there.", "find", FOUND),
    "remnant.ended": Kind("That part is gone.", "find", FOUND),
    "stranger.found": Kind(
        "Something that is not ours stands where ours do.", "find", FOUND, ("name",)
    ),
    "stranger.gone": Kind("The stranger is gone.", "find", FOUND, ("name",)),
}
