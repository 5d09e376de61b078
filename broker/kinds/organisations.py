"""Kinds of entry about tenants, people, keys and servers."""

from __future__ import annotations

from collections.abc import Mapping

from broker.kinds.forms import NAME, PROVIDER, RIGHT, ROLE, Kind

ORGANISATIONS: Mapping[str, Kind] = {
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
    "admin.enrolled": Kind("A tenant got its first admin.", "person", ROLE, NAME),
    "member.added": Kind("A person was given a role.", "person", ROLE, NAME),
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
        PROVIDER,
        ("address",),
    ),
    "identity_provider.changed": Kind(
        "What this sign-in service is asked for, or what its groups give, was changed.",
        "identity provider",
        PROVIDER,
    ),
    "identity_provider.removed": Kind(
        "Nobody signs in through this service any more; its sessions ended.", "identity provider"
    ),
    "directory.registered": Kind(
        "A directory makes and ends people from now on; `role` is of those for whom it names none.",
        "directory",
        ROLE,
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
        "A person asked for one of their rights; it is to be answered by then.", "case", RIGHT
    ),
    "rights.extended": Kind("The answer takes longer; the person was told why.", "case", RIGHT),
    "rights.answered": Kind("The person was answered.", "case", {**RIGHT, "outcome": "word"}),
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
}
