"""The places that this host needs: keyring, store, ticket system, mail server, configuration."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator

from broker import bootstrap
from broker.doctor.line import Line, bad, ok, warn
from broker.keys import LOG_KEY
from broker.keys.keyring import Keyring
from broker.settings import Settings
from broker.stores.folder import FolderStore

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


def _check_store(settings: Settings) -> Iterator[Line]:
    if settings.store.folder is None:
        yield _not_set("store", "BROKER_STORE__FOLDER")
        return
    list(FolderStore(settings.store.folder).list_all(_NO_SUCH))
    yield ok("store", f"{settings.store.folder} answers")


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
