"""Kinds of entry about consents, persons' rights, and regular backups."""

from __future__ import annotations

from collections.abc import Mapping

from broker.kinds.forms import AGREED, CONSENT, ENDS, ORDER, WHY, Kind

PURPOSES: Mapping[str, Kind] = {
    # Consents.
    "contact.shown": Kind(
        "A contact detail of a person was shown to an engineer, on their consent to that field.",
        "disclosure",
        {"person": "id", "field": "word", "ticket": "id", "consent": "id"},
    ),
    "contact.written": Kind(
        "An engineer wrote to a person through the broker, which showed nothing of them.",
        "person",
        {"ticket": "id"},
        ("text",),
    ),
    "recipient.added": Kind(
        "Somebody was put on the register of recipients; `digest` is of what it says of them.",
        "recipient",
        {"kind": "word", "digest": "digest", "starts_at": "instant"},
        ("name",),
    ),
    "recipient.ended": Kind(
        "A recipient of the register gets nothing any more.", "recipient", {"kind": "word"}
    ),
    "order.recorded": Kind(
        "A privacy officer wrote down an authority's order; nothing is handed over on it yet.",
        "order",
        ORDER,
        ("authority", "reference"),
    ),
    "order.confirmed": Kind("Another officer stands for the order: it binds us.", "order", ORDER),
    "order.contested": Kind(
        "Another officer contested the order: nothing is given.", "order", ORDER
    ),
    "order.answered": Kind(
        "A document was made for the authority; `digest` is the document's.",
        "order",
        {"tenant": "id", "handover": "id", "what": "word", "about": "id", "digest": "digest"},
    ),
    "order.told": Kind(
        "The tenant was told of an authority's order: at once, or when the law's silence was over.",
        "order",
        {"state": "word", "recorded_at": "instant"},
        ("authority", "reference"),
    ),
    "handover.made": Kind(
        "A document was made for a recipient, on the consent to that recipient or on an order; "
        "`digest` is the document's, `made_at` when it was made.",
        "handover",
        {
            "what": "word",
            "about": "id",
            "digest": "digest",
            "recipient": "id",
            "consent": "id",
            "order": "id",
            "made_at": "instant",
        },
        ("reason",),
    ),
    # Regular backups.
    "backup.declared": Kind(
        "A regular backup was declared; nothing is read before the organisation consents to it.",
        "backup",
        {
            "database": "id",
            "kind": "word",
            "runner": "id",
            "every_s": "number",
            "hours": "word",
            "keep_days": "number",
        },
    ),
    "backup.ended": Kind("A regular backup was ended, with its runs.", "backup"),
    "backup.reported": Kind(
        "A run's program said what came of it; `digest` and `bytes` are the backup's, which dies "
        "at `expires_at`.",
        "backup",
        {
            "run": "id",
            "outcome": "word",
            "began_at": "instant",
            "bytes": "number",
            "digest": "digest",
            "expires_at": "instant",
        },
        ("place",),
    ),
    "backup.destroyed": Kind(
        "A run's program said that the backup is gone.", "backup", {"run": "id", "digest": "digest"}
    ),
    "backup.unusual": Kind(
        "Something about it was not as declared: host, program, hour or volume.",
        "backup",
        {"what": "words", "run": "id"},
    ),
    "backup_run.asked": Kind(
        "The program of a backup asked for the login of one run.",
        "backup_run",
        {"backup": "id", "database": "id", "role": "id", **ENDS},
    ),
    "backup_run.issued": Kind("The login of a run was made.", "backup_run"),
    "backup_run.revoking": Kind("The end of a run's login began.", "backup_run", WHY),
    "backup_run.revoked": Kind(
        "A fresh look found neither the login of a run nor a session of it.",
        "backup_run",
        {
            "login_refused_at": "instant",
            "last_session_dead_at": "instant",
            "role_gone_at": "instant",
        },
    ),
    "restore.asked": Kind(
        "Somebody of the vendor asked to restore one backup.",
        "restore",
        {"run": "id", "ticket": "id", "hours": "number"},
        ("reason", "target"),
    ),
    "restore.allowed": Kind("An admin allowed it, to be used once.", "restore", ENDS),
    "restore.used": Kind(
        "It was begun; `digest` is what the backup's bytes must have.",
        "restore",
        {"run": "id", "digest": "digest"},
    ),
    "restore.ended": Kind("It was refused, or its time was over.", "restore", WHY),
    "breach.recorded": Kind(
        "A breach of personal data became known; 72 hours run from `known_at`.",
        "breach",
        {"known_at": "instant", "due_at": "instant"},
        ("said",),
    ),
    "breach.notified": Kind(
        "The authority was notified of a breach, or it was written down why not.",
        "breach",
        {"notified": "yes or no"},
    ),
    "breach.told": Kind(
        "The customer was told of a breach in which their log names what was breached.",
        "breach",
        {"since": "instant", "until": "instant"},
        ("text",),
    ),
    "retention.loaded": Kind(
        "A retention schedule was loaded; nothing is taken by it before it is confirmed.",
        "schedule",
        {"records": "number"},
    ),
    "retention.confirmed": Kind(
        "A privacy officer saw what the schedule would take, and confirmed it.", "schedule"
    ),
    "retention.taken": Kind(
        "Records past their term were erased, or lost what they said.",
        "schedule",
        {"record": "word", "fate": "word", "rows": "number"},
    ),
    "improvement.kept": Kind(
        "A month was counted to improve the product, without identifiers; rare records left out.",
        "month",
        {"records": "number", "rows": "number", "left_out": "number"},
    ),
    "purpose.published": Kind(
        "A purpose, or another text of it, was made known; `digest` is of its English text.",
        "purpose",
        {"purpose": "word", "version": "number", "digest": "digest"},
    ),
    "consent.given": Kind(
        "The organisation, or `person` for themselves, consented to what was shown.",
        "consent",
        AGREED,
    ),
    "consent.renewed": Kind("A consent was given again before its end.", "consent", AGREED),
    "consent.withdrawn": Kind(
        "A consent was withdrawn; what rested on it was ended before, what was done stays lawful.",
        "consent",
        CONSENT,
    ),
    "consent.lapsed": Kind(
        "A consent came to its end, or its purpose says something else by now.",
        "consent",
        CONSENT,
    ),
    "act.unexplained": Kind(
        "The nightly check found no ground for an act: the entry at that position of this log.",
        "what the act was about",
        {"kind": "word", "position": "number"},
    ),
}
