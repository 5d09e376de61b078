"""The closed list of what a log can say: each kind of entry, its facts, what is personal in it.

`trail.record` writes nothing that is not listed here, so the page that is made from this list is
whole (`python -m broker.kinds > docs/audit-events.md`). A fact is an id, a digest, an instant, a
number or a word of ours; whatever a person wrote, or is called, is personal: committed to in the
entry, opened beside it.

A kind is never taken away and a fact never changes its meaning: old logs must stay readable.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

# What a fact can be, and how it stands in JSON.
TYPES: Mapping[str, type] = {
    "id": str,
    "word": str,
    "digest": str,  # SHA-256, hexadecimal
    "instant": str,  # ISO 8601 with its zone
    "number": int,
    "yes or no": bool,
    "words": list,
    "numbers": list,
}


@dataclass(frozen=True, slots=True)
class Kind:
    """`subject` is what the entry is about; a fact may be absent, none may be added."""

    says: str
    subject: str
    facts: Mapping[str, str] = field(default_factory=dict)
    personal: tuple[str, ...] = ()


_WHY = {"why": "word"}
_LOGINS = {"logins": "number"}
_ENDS = {"ends_at": "instant"}
_COUNTS = {"tables": "number", "columns_kept": "number", "columns_masked": "number"}
_COUNTS |= {"columns_raw": "number", "tables_restricted": "number"}
_GIVEN = {
    "shown": "digest",
    "given": "digest",
    "live_s": "number",
    "copy_s": "number",
    "platform_s": "number",
    "kind": "word",
    "storage_s": "number",
    "starts_at": "instant",
    "develop": "yes or no",
    "dedicated": "yes or no",
    **_COUNTS,
}
_STOOD_IN = {"for": "id", "delegation": "id"}  # of an admin's delegate
_DELEGATION = {"giver": "id", "delegate": "id", "starts_at": "instant", "ends_at": "instant"}
_POLICY = {
    "version": "number",
    "digest": "digest",
    "approvals": "number",
    "approvers": "words",
    "live_max_s": "number",
    "copy_max_s": "number",
    "unanswered_s": "number",
    "second_person": "yes or no",
    "reminders": "numbers",
    "escalate_after_s": "number",
    "escalate_to": "words",
    "masked_only": "yes or no",
    "dedicated_only": "yes or no",
    "break_glass": "yes or no",
    "break_glass_max_s": "number",
}
_TERMS = {
    "database": "id",
    "digest": "digest",
    "plan": "digest",
    "live_max_s": "number",
    "copy_max_s": "number",
    "per_ticket": "number",
    **_ENDS,
}
_ORDER = {"tenant": "id", "silent_until": "instant"}
_CONSENT = {"purpose": "word", "version": "number", "about": "word", "person": "id"}
_AGREED = {**_CONSENT, "digest": "digest", "language": "word", "lapses_at": "instant"}
_RIGHT = {"kind": "word", "person": "id", "due_at": "instant"}
_ROLE = {"role": "word"}
_PROVIDER = {"groups": "number", "secret": "yes or no"}
_NAME = ("name", "email")
_FOUND = {"kind": "word", "on": "id", "row": "word", "role": "id", "scope": "id"}
_CERTIFICATE = {"certificate": "id", "digest": "digest", "snapshot": "id"}

KINDS: Mapping[str, Kind] = {
    # Tenants, people, keys.
    "tenant.enrolled": Kind("The vendor enrolled a tenant.", "tenant", {}, ("legal_id",)),
    "departure.announced": Kind(
        "It was announced that the tenant leaves.",
        "departure",
        {"leaves_at": "instant", "side": "word"},
    ),
    "departure.cancelled": Kind("The departure was taken back.", "departure"),
    "departure.begun": Kind(
        "The tenant left: what was open is ended, and nothing begins any more.", "departure"
    ),
    "departure.closed": Kind("Nothing of the tenant is alive any more.", "departure"),
    "departure.erasing": Kind(
        "Names, texts and addresses of the tenant were erased; a signed statement says so.",
        "departure",
        {"digest": "digest"},
    ),
    "departure.erased": Kind("Who got that statement was erased too.", "departure"),
    "tenant.exported": Kind(
        "An admin took home all that is held of the tenant.", "tenant", {"bytes": "number"}
    ),
    "tenant.identified": Kind(
        "The vendor noted who a tenant is in law: its SIREN or VAT number.",
        "tenant",
        {},
        ("legal_id",),
    ),
    "tenant.bounded": Kind(
        "What a customer's copies may take at once was set; 0 is no bound.",
        "tenant",
        {"bytes": "number"},
    ),
    "admin.enrolled": Kind("A tenant got its first admin.", "person", _ROLE, _NAME),
    "member.added": Kind("A person was given a role.", "person", _ROLE, _NAME),
    "member.removed": Kind("A person's roles here ended.", "person", {"roles": "words"}),
    "person.signed_in": Kind(
        "A person signed in; `code` is a password with a code of an authenticator, `organisation` "
        "the sign-in service of their organisation.",
        "person",
        {"with": "word"},
    ),
    "person.logged_out": Kind(
        "The organisation's sign-in service said that a person left: their sessions ended.",
        "person",
    ),
    "identity_provider.registered": Kind(
        "People may sign in through this service; so many of its groups give a role.",
        "identity provider",
        _PROVIDER,
        ("address",),
    ),
    "identity_provider.changed": Kind(
        "What this sign-in service is asked for, or what its groups give, was changed.",
        "identity provider",
        _PROVIDER,
    ),
    "identity_provider.removed": Kind(
        "Nobody signs in through this service any more; its sessions ended.", "identity provider"
    ),
    "directory.registered": Kind(
        "A directory makes and ends people from now on; `role` is of those for whom it names none.",
        "directory",
        _ROLE,
    ),
    "directory.token_replaced": Kind("A directory has another token.", "directory"),
    "directory.removed": Kind("A directory makes and ends nobody any more.", "directory"),
    "member.renamed": Kind("A person is called otherwise here.", "person", {}, ("name",)),
    "webhook.registered": Kind(
        "What happens here is told to another system from now on.",
        "webhook",
        {"form": "word"},
        ("address",),
    ),
    "webhook.secret_replaced": Kind("What a webhook tells is signed by another secret.", "webhook"),
    "webhook.removed": Kind("A webhook tells nothing any more.", "webhook"),
    "identity.linked": Kind(
        "A person's account was linked with a sign-in service.", "person", {"provider": "id"}
    ),
    "identity.unlinked": Kind(
        "A person signs in through this service no more.", "person", {"provider": "id"}
    ),
    "passkey.registered": Kind(
        "A person registered a passkey; `key` is the SHA-256 of its public key.",
        "passkey",
        {"key": "digest"},
    ),
    "authenticator.added": Kind(
        "A person set up an authenticator app: a password alone opens nothing of theirs.", "person"
    ),
    "authenticator.removed": Kind("A person removed their authenticator app.", "person"),
    "recovery_codes.made": Kind("A person made new recovery codes.", "person"),
    "recovery_code.used": Kind("A recovery code was taken in place of a code.", "person"),
    "passkey.removed": Kind("A person removed a passkey.", "passkey"),
    "passkey.cloned": Kind("A passkey was used by two devices, and was ended.", "passkey"),
    "person.disabled": Kind("A person was shut out.", "person"),
    "person.erased": Kind(
        "What names a person was erased; so many values can't be opened any more.",
        "person",
        {"openings": "number"},
    ),
    "log.pruned": Kind(
        "Of entries at lower positions than `until`, those of these kinds whose time is over went; "
        "their hashes stay.",
        "log",
        {"until": "number", "pruned": "number", "before": "instant", "kinds": "words"},
    ),
    "slot.assigned": Kind(
        "This log has this slot in every epoch of the root log, for good.",
        "log",
        {"slot": "number", "slots": "number"},
    ),
    "epoch.sealed": Kind(
        "In the root log alone: the root over the slots of all logs.",
        "epoch",
        {"epoch": "number", "slots": "number", "root": "word"},
    ),
    "person.exported": Kind(
        "All that is held of a person was handed over, to them or to a privacy officer.",
        "person",
        {"bytes": "number"},
    ),
    "person.restricted": Kind("What is held of a person is put to no use for now.", "person"),
    "person.unrestricted": Kind("The restriction of a person was lifted.", "person"),
    "rights.asked": Kind(
        "A person asked for one of their rights; it is to be answered by then.", "case", _RIGHT
    ),
    "rights.extended": Kind("The answer takes longer; the person was told why.", "case", _RIGHT),
    "rights.answered": Kind("The person was answered.", "case", {**_RIGHT, "outcome": "word"}),
    "invitation.accepted": Kind("A person set a first password.", "person"),
    "password.changed": Kind("A person changed the password; sessions and tokens ended.", "person"),
    "token.created": Kind("A person made an API token.", "person"),
    "token.ended": Kind("A person ended an API token.", "person"),
    "database.registered": Kind(
        "A live database was registered: its catalogue may be read.",
        "database",
        {"engine": "word", "port": "number", "tenancy": "word"},
        ("address", "logins", "part", "standbys"),
    ),
    "database.removed": Kind(
        "A live database was taken out of use; nothing of ours is there.", "database"
    ),
    "database.standbys_registered": Kind(
        "An operator named the standbys on which the end of a login is confirmed, and no others.",
        "database",
        {"named": "number"},
        ("standbys",),
    ),
    "database.logins_registered": Kind(
        "An admin named the logins that are known on the server beside the broker's.",
        "database",
        personal=("logins",),
    ),
    "database.released": Kind(
        "All logins there are cut for a migration of the tenant's own, and none is made before.",
        "database",
        {"logins": "number", "until": "instant"},
    ),
    "drills.allowed": Kind(
        "An admin allowed drills of revocation, by themselves every so many seconds if said.",
        "database",
        {"every_s": "number"},
    ),
    "drills.forbidden": Kind("An admin allows drills no more.", "database"),
    "drill.ordered": Kind(
        "A login that can read nothing will be made, attacked and ended, to see how long it takes.",
        "drill",
        {"database": "id", "role": "id", "scope": "id"},
    ),
    "drill.passed": Kind(
        "Whoever attacked had lost when the end was said to be done.",
        "drill",
        {
            "asked_at": "instant",
            "login_refused_at": "instant",
            "last_session_dead_at": "instant",
            "role_gone_at": "instant",
        },
    ),
    "drill.failed": Kind("Something outlived the end, or the drill broke off.", "drill"),
    "server.removed": Kind("A test server was taken out of use; no copy is there.", "server"),
    "server.bounded": Kind(
        "What copies may take on a test server was set; 0 is no bound.",
        "server",
        {"bytes": "number"},
    ),
    "server.registered": Kind("A test server was registered.", "server", {"kind": "word"}),
    "platform.registered": Kind(
        "A platform was registered: it may be asked for, and tokens for it name it.",
        "platform",
        personal=("address",),
    ),
    "platform.secret_replaced": Kind(
        "The secret with which a platform asks about tokens was replaced.", "platform"
    ),
    "platform.removed": Kind("A platform was removed; its tokens ended.", "platform"),
    "storage.registered": Kind(
        "Objects of the tenant were registered: they may be asked for.",
        "storage",
        personal=("address",),
    ),
    "storage.removed": Kind("A storage was removed; nothing on it is given any more.", "storage"),
    "token_key.made": Kind("A key was made that will sign platform tokens.", "key"),
    "token_key.withdrawn": Kind(
        "A key that signed platform tokens was taken out of use before its time.", "key"
    ),
    "token_key.erased": Kind("A key that signed platform tokens was erased.", "key"),
    "login.rotated": Kind(
        "The password of the broker's login was changed, after the new one was seen to work.",
        "database or server",
    ),
    "login.replaced": Kind(
        "An operator gave a new password of the broker's login; it is tried first.",
        "database or server",
    ),
    "login.refused": Kind(
        "The broker's login is refused or lost a privilege: nothing can be made or ended there.",
        "database or server",
    ),
    "login.accepted": Kind("The broker's login works again.", "database or server"),
    "server.met": Kind(
        "The cluster at a registered address was seen first; so many logins and views were left.",
        "database or server",
        {"cluster": "id", "left": "number"},
    ),
    "server.restored": Kind(
        "The server is on another timeline: it is swept before anything is made there.",
        "database or server",
        {"timeline": "number"},
    ),
    "server.swept": Kind(
        "Nothing of ours without a live row stands on the server.",
        "database or server",
        {"timeline": "number"},
    ),
    "server.another": Kind(
        "Another cluster answers at the address: nothing is made there, nothing counts as gone.",
        "database or server",
        {"before": "id", "cluster": "id"},
    ),
    "server.confirmed": Kind(
        "An operator said that the other cluster took the former one's place.",
        "database or server",
        {"before": "id", "cluster": "id"},
    ),
    "preflight.made": Kind(
        "The server was looked at for what it lacks and what it gives too much.",
        "database or server",
        {"fatal": "number", "warnings": "number", "digest": "digest"},
    ),
    "access.unexplained": Kind(
        "A login was first seen on the server that nobody registered.",
        "database",
        {"attributes": "words", "sessions": "number"},
        ("login",),
    ),
    "key.published": Kind("A public key of the broker changed.", "key"),
    "quarantine.began": Kind(
        "The control database was restored, or its clock jumped: nothing is made or ended by time.",
        "quarantine",
        {"why": "words"},
    ),
    "quarantine.lifted": Kind(
        "An operator said that the record may be acted on again; decisions may be missing in it.",
        "quarantine",
        {"why": "words", "grants": "word", "last_seen_at": "instant"},
    ),
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
        _ORDER,
        ("authority", "reference"),
    ),
    "order.confirmed": Kind("Another officer stands for the order: it binds us.", "order", _ORDER),
    "order.contested": Kind(
        "Another officer contested the order: nothing is given.", "order", _ORDER
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
        {"backup": "id", "database": "id", "role": "id", **_ENDS},
    ),
    "backup_run.issued": Kind("The login of a run was made.", "backup_run"),
    "backup_run.revoking": Kind("The end of a run's login began.", "backup_run", _WHY),
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
    "restore.allowed": Kind("An admin allowed it, to be used once.", "restore", _ENDS),
    "restore.used": Kind(
        "It was begun; `digest` is what the backup's bytes must have.",
        "restore",
        {"run": "id", "digest": "digest"},
    ),
    "restore.ended": Kind("It was refused, or its time was over.", "restore", _WHY),
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
        _AGREED,
    ),
    "consent.renewed": Kind("A consent was given again before its end.", "consent", _AGREED),
    "consent.withdrawn": Kind(
        "A consent was withdrawn; what rested on it was ended before, what was done stays lawful.",
        "consent",
        _CONSENT,
    ),
    "consent.lapsed": Kind(
        "A consent came to its end, or its purpose says something else by now.",
        "consent",
        _CONSENT,
    ),
    "act.unexplained": Kind(
        "The nightly check found no ground for an act: the entry at that position of this log.",
        "what the act was about",
        {"kind": "word", "position": "number"},
    ),
    # Tickets.
    "ticket.mirrored": Kind(
        "A ticket was seen for the first time.",
        "ticket",
        {"system": "word", "closed": "yes or no"},
        ("title",),
    ),
    "ticket.missed": Kind("A ticket was not found; a second look will decide.", "ticket"),
    "ticket.ended": Kind("A ticket counts as closed, and what rests on it ends.", "ticket", _WHY),
    # Grants and plans.
    "grant.requested": Kind(
        "An engineer asked for access.",
        "grant",
        {
            "ticket": "id",
            "database": "id",
            "category": "word",
            "live_s": "number",
            "copy_s": "number",
            "lapses_at": "instant",
            "policy": "number",
            "approvals": "number",
            "extends": "id",
            "starts_at": "instant",
            "platform": "id",
            "platform_s": "number",
            "kind": "word",
            "storage": "id",
            "storage_s": "number",
            "break_glass": "yes or no",
            "develop": "yes or no",
            "on_ticket": "yes or no",
            "dedicated": "yes or no",
        },
        ("reason",),
    ),
    "plan.made": Kind(
        "The plan of what would be seen was made.", "grant", {"digest": "digest", **_COUNTS}
    ),
    "plan.read": Kind("Somebody read a plan.", "grant", {"digest": "digest"}),
    "approval.given": Kind(
        "An admin approved what was shown, or less, or a lead of the vendor did for break-glass; "
        "others must too.",
        "grant",
        {**_GIVEN, **_STOOD_IN, "missing": "number"},
    ),
    "grant.approved": Kind(
        "The last admin needed approved; this is what all of them give. With `standing` they "
        "did so in advance, by the terms with that digest. With `break_glass` two leads of the "
        "vendor did, as the policy of that version allows.",
        "grant",
        {
            **_GIVEN,
            **_STOOD_IN,
            "approvals": "number",
            "policy": "number",
            "standing": "id",
            "terms": "digest",
            "break_glass": "yes or no",
        },
        ("severity", "category"),
    ),
    "grant.refused": Kind("An admin refused a request.", "grant", _STOOD_IN, ("note",)),
    "grant.ended": Kind("A grant or request is over.", "grant", _WHY),
    "grant.altered": Kind(
        "A grant's rows are not what was signed; nothing more is made under it.",
        "grant",
        {"fields": "words"},
    ),
    "grant.escalated": Kind(
        "A request waited without enough answers: these people were told, and may decide it.",
        "grant",
        {"after_s": "number", "told": "words"},
    ),
    "grant.pause_asked": Kind(
        "All logins under the grant must let nobody in; its ends stay.", "grant", _LOGINS
    ),
    "grant.resume_asked": Kind("The pause of the grant was lifted.", "grant", _LOGINS),
    "decision.signed": Kind(
        "The statement of a person's decision was signed.",
        "decision",
        {"grant": "id", "digest": "digest"},
    ),
    # Standing approvals: given in advance.
    "standing.proposed": Kind(
        "An admin proposed to approve in advance what fits; as many must agree as the policy asks.",
        "standing approval",
        {**_TERMS, "grant": "id", "approvals": "number", "policy": "number"},
        ("severities", "categories", "note"),
    ),
    "standing.agreed": Kind(
        "An admin agreed to a standing approval; others must too.",
        "standing approval",
        {"digest": "digest", "missing": "number"},
    ),
    "standing.given": Kind(
        "The last admin needed agreed: from now on, requests that fit are approved under it.",
        "standing approval",
        {**_TERMS, "approvals": "number"},
    ),
    "standing.ended": Kind(
        "A standing approval is over; what it gave ends too, unless `kept`.",
        "standing approval",
        {**_WHY, "kept": "yes or no"},
    ),
    # Break-glass: the vendor let itself in, and owes a review.
    "review.owed": Kind(
        "The vendor breaks the glass, and owes the customer a review of it.",
        "review",
        {"grant": "id", "due_at": "instant"},
    ),
    "review.closed": Kind(
        "An admin of the customer closed the review.", "review", {"grant": "id"}, ("note",)
    ),
    # How a tenant approves.
    "delegate.named": Kind(
        "An admin named who decides in their place, for a time.", "delegation", _DELEGATION
    ),
    "delegate.ended": Kind("A delegation was taken back.", "delegation", _DELEGATION),
    "policy.proposed": Kind(
        "An admin proposed another approval policy; a second must confirm.", "tenant", _POLICY
    ),
    "policy.changed": Kind("Another approval policy is in force.", "tenant", _POLICY),
    # Leases: credentials.
    "lease.asked": Kind(
        "An engineer asked for a login, a token, or a session on a storage, under a grant.",
        "lease",
        {"grant": "id", "role": "id", "scope": "id", "on": "id", "kind": "word", **_ENDS},
    ),
    "lease.entered": Kind(
        "Somebody was first seen in the login; what its role can do was looked at again.",
        "lease",
        {"grant": "id", "first_seen_at": "instant"},
    ),
    "lease.outlived": Kind(
        "A session of a login that had ended was found alive, without rights, and was ended.",
        "lease",
        {"grant": "id", "sessions": "number"},
    ),
    "lease.issued": Kind(
        "The login was made on the server, or the token was signed with this key.",
        "lease",
        {"key": "id"},
    ),
    "lease.pause_asked": Kind("The login must let nobody in for a while; its end stays.", "lease"),
    "lease.paused": Kind(
        "A fresh look found no session of the login, and that it lets nobody in.",
        "lease",
        {
            "login_refused_at": "instant",
            "last_session_dead_at": "instant",
            "found_absent": "yes or no",
        },
    ),
    "lease.resume_asked": Kind("The pause of the login was lifted.", "lease"),
    "lease.resumed": Kind("The login lets its person in again, until its end.", "lease"),
    "lease.revoking": Kind("The login or token must end.", "lease", _WHY),
    "lease.revoked": Kind(
        "A fresh look found neither the login nor a session of it.",
        "lease",
        {
            "login_refused_at": "instant",
            "last_session_dead_at": "instant",
            "role_gone_at": "instant",
            "found_absent": "yes or no",
        },
    ),
    "lease.expired": Kind(
        "Whoever asked was told since `refused_at` that the token is void, and its own end is past "
        "by more than clocks may differ; or it never left the broker.",
        "lease",
        {"refused_at": "instant", "expired_at": "instant", "left": "yes or no"},
    ),
    "lease.end_signed": Kind(
        "The statement of a login's end was signed.",
        "lease",
        {"grant": "id", "digest": "digest"},
    ),
    "glass.read": Kind(
        "Somebody looked at the open logins, their sessions and, if so said, their statements.",
        "tenant",
        {"logins": "number", "statements": "yes or no"},
    ),
    "scope.dropped": Kind("The views of a scope were dropped.", "database", {"scope": "id"}),
    # Snapshots: copies.
    "snapshot.ordered": Kind(
        "A copy was ordered under a grant.",
        "snapshot",
        {"grant": "id", "plan": "digest", "server": "id", **_ENDS},
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
    "snapshot.reset_refused": Kind("The sandbox could not be loaded afresh.", "snapshot", _WHY),
    "snapshot.condemned": Kind("The copy must be destroyed; no way back.", "snapshot", _WHY),
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
        {"snapshot": "id", "basis": "word", **_ENDS},
    ),
    "hold.refused": Kind("The customer refused the hold.", "hold", {"snapshot": "id"}),
    "hold.closed": Kind(
        "The held copy has no login and no sandbox, and its key refuses to unwrap.",
        "hold",
        {"snapshot": "id"},
    ),
    "hold.ended": Kind(
        "The hold is over; a condemned copy is destroyed.", "hold", {"snapshot": "id", **_WHY}
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
    "certificate.issued": Kind("A destruction was certified.", "certificate", _CERTIFICATE),
    "certificate.stamped": Kind(
        "A third party put its time to a certificate; `digest` is of its answer (RFC 3161).",
        "certificate",
        {"digest": "digest", "said_at": "instant"},
    ),
    "certificate.revoked": Kind(
        "A certificate was wrong: a part was found.",
        "certificate",
        {**_CERTIFICATE, "remnant": "id"},
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
    "orphan.found": Kind("Something of ours stood there without a live row.", "find", _FOUND),
    "orphan.ended": Kind("The orphan is gone.", "find", _FOUND),
    "remnant.found": Kind("A part of a destroyed copy stood there.", "find", _FOUND),
    "remnant.ended": Kind("That part is gone.", "find", _FOUND),
    "stranger.found": Kind(
        "Something that is not ours stands where ours do.", "find", _FOUND, ("name",)
    ),
    "stranger.gone": Kind("The stranger is gone.", "find", _FOUND, ("name",)),
}


class Unlisted(ValueError):
    """An entry says something that `KINDS` does not list: a defect of the code that writes it."""


def check(kind: str, facts: Mapping[str, object], personal: Collection[str]) -> None:
    """Raises Unlisted for a kind, fact or personal field that is not in the list above."""
    known = KINDS.get(kind)
    if known is None:
        raise Unlisted(f"{kind} is no kind of entry; list it in broker/kinds.py")
    for name, value in facts.items():
        if type(value) is not TYPES.get(known.facts.get(name, "")):  # True is no number
            raise Unlisted(f"{kind} has no fact {name} that is a {type(value).__name__}")
    for name in personal:
        if name not in known.personal:
            raise Unlisted(f"{kind} has no personal field {name}")


_HEAD = """\
# What a log can say

Made from `broker/kinds.py` by `python -m broker.kinds > docs/audit-events.md`; a test fails when it
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
