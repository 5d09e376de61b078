"""Settings from `config/broker.toml` (or the file in BROKER_CONFIG) and `BROKER_*` variables.

A variable `BROKER_CONTROL__DSN` is key `dsn` of section `control`; variables win over the file. An
unknown key, a bad value or a missing secret stops the start with one sentence that names it.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)

from broker.errors import SettingsError
from broker.secret import Secret

PREFIX = "BROKER_"
# Variables of the command line, which is a client and reads no settings.
CLIENT_VARIABLES = frozenset(
    f"{PREFIX}{name}"
    for name in ("CONFIG", "URL", "TOKEN", "PROFILE", "OUTPUT", "CA_BUNDLE", "HOME", "CRASH_AT")
)
_LISTS = frozenset({"webhook_secrets", "trusted_hosts", "aws_kms_former", "networks"})


def _secret(value: object) -> Secret[str]:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str) or not value:
        msg = "must be a text that is not empty"
        raise ValueError(msg)
    return Secret(value)


SecretText = Annotated[Secret[str], BeforeValidator(_secret)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Vendor(Section):
    """`host` names logs and keys (`<host>/log/…`): it must never change once a log exists."""

    name: str = "Vendor"
    host: str = Field(default="broker.example", pattern=r"^[a-z0-9.-]+$")


class Control(Section):
    dsn: SecretText  # of the role that owns nothing
    owner_dsn: SecretText | None = None  # of the owner: migrations only


class Web(Section):
    public_url: str = "https://broker.example"
    secret_key: SecretText | None = None
    trusted_hosts: list[str] = ["localhost", "127.0.0.1"]
    proxies: int = 0  # how many reverse proxies stand in front and set X-Forwarded-*
    requests_per_minute: NonNegativeInt = 600  # of one API token, in each process; 0: no limit


class Keys(Section):
    """One of `openbao`, an address, `pkcs11_module`, a library, and `aws_kms`, a key's ARN,
    may hold copies' wrapping keys, or share them; the rest stays in the keyring.
    """

    keyring: Path | None = None
    openbao: str | None = None
    openbao_token_file: Path | None = None
    openbao_mount: str = Field(default="transit", pattern=r"^[a-z0-9_-]+(/[a-z0-9_-]+)*$")
    openbao_ca: Path | None = None
    pkcs11_module: Path | None = None
    pkcs11_token: str | None = None  # its label
    pkcs11_pin_file: Path | None = None
    aws_kms: str | None = None
    aws_kms_former: list[str] = []  # keys that wrapped before, and still open that
    aws_kms_endpoint: str | None = None  # AWS's own when there is none


class Store(Section):
    """Where sealed copies lie: a folder, or a bucket; never both.

    `look_key` and `look_secret` are a second login, which may only list: looks are made with it.
    """

    folder: Path | None = None
    bucket: str | None = None
    base: str = Field(default="", pattern=r"^([a-z0-9_-]+/)*$")
    endpoint: str | None = None  # AWS's own when there is none
    region: str = "eu-west-1"
    access_key: SecretText | None = None  # both, or else what the machine itself may
    secret_key: SecretText | None = None
    look_key: SecretText | None = None
    look_secret: SecretText | None = None
    encryption: Literal["AES256", "aws:kms"] | None = None
    encryption_key: str | None = None


class Host(Section):
    """Of a worker on a host of dedicated test servers. `user` runs them, where we are root;
    `postgres` is the folder of their PostgreSQL, e.g. /usr/lib/postgresql/17.
    """

    folder: Path | None = None
    user: str = Field(default="nobody", pattern=r"^[a-z_][a-z0-9_-]*$")
    postgres: Path | None = None
    tls_cert: Path | None = None  # both, off loopback
    tls_key: Path | None = None


class Sts(Section):
    """The token service for sessions on tenants' objects; `role` is what they are sessions of."""

    role: str | None = None
    endpoint: str | None = None  # AWS's own when there is none
    region: str = "eu-west-1"
    access_key: SecretText | None = None  # both, or else what the machine itself may
    secret_key: SecretText | None = None


class Mail(Section):
    host: str = "localhost"
    port: int = 25
    sender: str = "broker@broker.example"
    tls: bool = False


class Tickets(Section):
    """The one ticket system; `docs/ticket-systems.md` says which kind needs what.

    `user` belongs to the token where the system wants both. Without `webhook_secrets` no webhook is
    taken, and closing is seen by the poll.
    """

    kind: Literal["generic", "zendesk", "jira", "freshdesk", "glpi", "gitlab", "linear"] = "generic"
    url: str | None = None
    user: str | None = None
    token: SecretText | None = None
    webhook_secrets: list[SecretText] = []
    probe: str = "probe"
    customer_field: str | None = None  # of Jira: which field names the customer
    project: str | None = None  # of GitLab: whose issues are the tickets
    client_id: str | None = None  # of GLPI: the OAuth client
    client_secret: SecretText | None = None
    comments: bool = True  # say on tickets what became of access and copies
    access_comments: bool = False  # take requests that engineers write as internal comments


class Times(Section):
    """Seconds. Defaults are those that people of this field expect; maxima bound every request."""

    unanswered_s: PositiveInt = 12 * 3600
    access_default_s: PositiveInt = 4 * 3600
    access_max_s: PositiveInt = 24 * 3600
    copy_max_s: PositiveInt = 7 * 86400
    standing_max_s: PositiveInt = 184 * 86400  # until when a standing approval holds at most
    sweep_s: PositiveInt = 15
    janitor_s: PositiveInt = 60
    poll_tickets_s: PositiveInt = 300
    missing_ticket_s: PositiveInt = 300  # between the two looks after which a ticket counts closed
    integrate_s: PositiveInt = 1
    epoch_s: PositiveInt = 300  # between two epochs of the root log
    retry_cap_s: PositiveInt = 300
    invitation_s: PositiveInt = 7 * 86400
    session_idle_s: PositiveInt = 1800
    session_max_s: PositiveInt = 12 * 3600
    rotate_s: PositiveInt = 30 * 86400  # after which our own password on a server is changed
    clock_jump_s: PositiveInt = (
        600  # what the control database's clock may run ahead of this host's
    )


class Rates(Section):
    """How many logins may be asked for within 10 minutes; 0: as many as are wanted."""

    person: NonNegativeInt = 60
    tenant: NonNegativeInt = 300
    server: NonNegativeInt = 600


class Tools(Section):
    config: Path = Path("config")


class Log(Section):
    """`witnesses` cosign the root log: each its URL, a space, and its verifier key.

    A timestamping authority (RFC 3161) at `tsa_url`, believed under the certificates in `tsa_root`,
    stamps each certificate, and the root log's checkpoint every `tsa_every_s` seconds. With
    `ml_dsa` the broker itself cosigns that checkpoint with ML-DSA-44.
    """

    witnesses: list[str] = []
    tsa_url: str | None = None
    tsa_root: Path | None = None
    tsa_every_s: PositiveInt = 3600
    ml_dsa: bool = False


class Workload(Section):
    """Whose tokens are exchanged for ours (`workloads.py`): who shows a token of `issuer`, made for
    `audience`, about a `subject` of this form, acts as the program `service`, so limited.
    """

    issuer: str
    audience: str = Field(min_length=1)
    subject: str = Field(min_length=1)  # `*` stands for anything but `:` and `/`
    service: str  # psn_…, of `broker services create`
    scopes: list[str] = []
    tenants: list[str] | None = None
    lives_s: int = Field(default=900, ge=60, le=3600)


class Outgoing(Section):
    """`networks` are reached although they are not public, e.g. a sign-in service beside us."""

    networks: list[str] = []


class Settings(Section):
    vendor: Vendor = Vendor()
    control: Control
    web: Web = Web()
    keys: Keys = Keys()
    store: Store = Store()
    host: Host = Host()
    sts: Sts = Sts()
    mail: Mail = Mail()
    tickets: Tickets = Tickets()
    log: Log = Log()
    times: Times = Times()
    rates: Rates = Rates()
    tools: Tools = Tools()
    outgoing: Outgoing = Outgoing()
    workloads: list[Workload] = []


def load_settings(file: Path | None = None, environ: dict[str, str] | None = None) -> Settings:
    """Read the file and the environment. Raises SettingsError with one sentence."""
    env = dict(os.environ) if environ is None else environ
    chosen = file or Path(env.get(f"{PREFIX}CONFIG", "config/broker.toml"))
    values: dict[str, Any] = {}
    if chosen.is_file():
        try:
            values = tomllib.loads(chosen.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{chosen} is not valid TOML: {error}") from None
    elif file is not None or f"{PREFIX}CONFIG" in env:
        raise SettingsError(f"the settings file {chosen} is not there")
    for name, value in env.items():
        if name.startswith(PREFIX) and name not in CLIENT_VARIABLES:
            _put(values, name, value)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None


def _put(values: dict[str, Any], name: str, value: str) -> None:
    section, separator, key = name.removeprefix(PREFIX).lower().partition("__")
    sections = set(Settings.model_fields) - {"workloads"}  # a list: it stands in the file
    if not separator or section not in sections:
        raise SettingsError(
            f"{name} is no setting; settings are {PREFIX}<SECTION>__<KEY>, with a section of: "
            + ", ".join(sorted(sections))
        )
    part = values.setdefault(section, {})
    part[key] = value.split(",") if key in _LISTS else value


def _sentence(error: ValidationError) -> str:
    """One sentence about the first problem, without the value: it may be a secret."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    variable = PREFIX + "__".join(str(part) for part in first["loc"][:2]).upper()
    match first["type"]:
        case "missing":
            return f"the setting {where} is missing; set {variable}"
        case "extra_forbidden":
            return f"there is no setting {where}; remove it or mend its name"
        case _:
            return f"the setting {where} is bad: {first['msg']}"
