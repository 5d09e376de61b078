"""The places that this host needs: keyring, store, ticket system, mail server, configuration."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator

from broker import bootstrap
from broker.doctor.line import Line, bad, ok, warn
from broker.keys import LOG_KEY
from broker.keys.awskms import AwsKmsKeys
from broker.keys.building import build_keys
from broker.keys.keyring import Keyring
from broker.keys.remote import RemoteKeys
from broker.settings import Settings
from broker.stores.building import build_bucket
from broker.stores.folder import FolderStore
from broker.stores.lifecycle_rule import ends_copies, ends_held

_TIMEOUT_S = 10
_FILES = ("permissions.toml", "masking.toml", "tools.toml")
_NO_SUCH = "snapshots/snp_doctor/"  # a prefix under which nothing is ever put


def checks(settings: Settings) -> dict[str, Callable[[], Iterator[Line]]]:
    return {
        "configuration": lambda: _check_files(settings),
        "keyring": lambda: _check_keyring(settings),
        "store": lambda: _check_store(settings),
        "ticket system": lambda: _check_tickets(settings),
        "mail server": lambda: _check_mail(settings),
    }


def _check_files(settings: Settings) -> Iterator[Line]:
    folder = settings.tools.config
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        todo = "set BROKER_TOOLS__CONFIG to the folder that came with this program"
        yield bad("configuration", f"{folder} lacks {', '.join(missing)}", todo)
    else:
        yield ok("configuration", f"{folder} is whole")


def _check_keyring(settings: Settings) -> Iterator[Line]:
    """Raises KeyUnavailable, with what mends it, unless the folder is whole and private."""
    if settings.keys.keyring is None:
        yield _not_set("keyring", "BROKER_KEYS__KEYRING")
        return
    keys = Keyring(settings.keys.keyring)
    keys.public(LOG_KEY)
    keys.intake_public()
    yield ok("keyring", f"{settings.keys.keyring} is whole and private")
    match build_keys(settings.keys):
        case RemoteKeys() as remote:
            names = remote.list_names("snapshot/")
            yield ok("copies' keys", f"{remote.place} lists {len(names)} of them")
        case AwsKmsKeys() as kms:
            kms.probe()
            yield ok("copies' keys", f"KMS wraps and opens under {settings.keys.aws_kms}")


def _check_store(settings: Settings) -> Iterator[Line]:
    if settings.store.bucket is not None:
        yield from _check_bucket(settings, settings.store.bucket)
        return
    if settings.store.folder is None:
        yield _not_set("store", "BROKER_STORE__FOLDER or BROKER_STORE__BUCKET")
        return
    list(FolderStore(settings.store.folder).list_all(_NO_SUCH))
    yield ok("store", f"{settings.store.folder} answers")


def _check_bucket(settings: Settings, name: str) -> Iterator[Line]:
    """Raises StoreUnavailable, which names the bucket."""
    store, listing = build_bucket(settings.store, name)
    list(store.list_all(_NO_SUCH))
    yield ok("store", f"the bucket {name} answers")
    if listing is None:
        todo = "set BROKER_STORE__LOOK_KEY and BROKER_STORE__LOOK_SECRET, of one who only lists"
        yield warn("store's looks", "are made by the same login that deletes", todo)
    else:
        list(listing.list_all(_NO_SUCH))
        yield ok("store's looks", "have a login of their own, which lists")
    if store.find_lock():
        todo = "take the default retention of Object Lock away from this bucket"
        yield bad("store's lock", "new objects are held: a copy could not be destroyed", todo)
    rules = store.find_lifecycle()
    if ends_held(rules, settings.store.base):
        todo = "put the rule on the bucket that this prints: broker store lifecycle"
        yield warn("store and holds", "a rule of the bucket ends what a legal hold keeps", todo)
    if ends_copies(rules, settings.store.base, settings.times.copy_max_s):
        yield ok("store's own end", "a lifecycle rule ends copies by itself")
    else:
        todo = "put the rule on the bucket that this prints: broker store lifecycle"
        yield warn("store's own end", "no rule of the bucket ends copies while we are down", todo)


def _not_set(what: str, variable: str) -> Line:
    says = "not set: right where only web or scheduler run, and no worker starts like this"
    return warn(what, says, f"set {variable} on a host that runs a worker")


def _check_tickets(settings: Settings) -> Iterator[Line]:
    tickets = bootstrap.build_tickets(settings)
    if tickets is None:
        todo = "set BROKER_TICKETS__URL, or nobody can ask for access"
        yield warn("ticket system", "none is set", todo)
        return
    tickets.probe()
    yield ok("ticket system", f"{tickets.name}: the probe ticket reads well")
    if settings.tickets.webhook_secrets:
        address = f"{settings.web.public_url.rstrip('/')}/hooks/tickets/{tickets.name}"
        yield ok("ticket webhooks", f"are taken at {address}")
    else:
        todo = "set BROKER_TICKETS__WEBHOOK_SECRETS, or closing is seen minutes later, by the poll"
        yield warn("ticket webhooks", "none is taken", todo)


def _check_mail(settings: Settings) -> Iterator[Line]:
    """A greeting, and TLS where it is set; nothing is sent."""
    mail = settings.mail
    with smtplib.SMTP(mail.host, mail.port, timeout=_TIMEOUT_S) as server:
        if mail.tls:
            server.starttls()
        code, _ = server.ehlo()
    if code == 250:
        yield ok("mail server", f"{mail.host}:{mail.port} answers EHLO")
    else:
        yield bad("mail server", f"{mail.host}:{mail.port} answered {code}", "see its log")
