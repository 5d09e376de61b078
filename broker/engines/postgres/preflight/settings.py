"""Settings of a server that keep values where nobody destroys them, or weaken the end of a login.

A rule says which values are good; what mends it depends on where the value in effect was set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from broker.engines.postgres.preflight.findings import Finding, Place, Severity, script


@dataclass(frozen=True, slots=True)
class Rule:
    """`good` values, the first of which is set to mend it; a setting that is absent is good.

    `first` are settings that must be changed with it, or the server would not start.
    """

    code: str
    severity: Severity
    setting: str
    good: tuple[str, ...]
    why: str
    first: tuple[tuple[str, str], ...] = ()


_LOGS_STATEMENTS = "The log would hold what is typed, with the values in it."
_LOGS_VALUES = "The log would hold values of rows; it outlives the copy."
_PASSWORDS = Rule(
    "password-encryption",
    "warning",
    "password_encryption",
    ("scram-sha-256",),
    "A lease that changes its password would leave an MD5 hash, which can be used as it is.",
)
_PREPARED = Rule(
    "prepared-transactions",
    "warning",
    "max_prepared_transactions",
    ("0",),
    "A prepared transaction outlives its session: a lease could keep a lock on its own role, which "
    "only a superuser can end.",
)
_LIVE: Final = (
    _PASSWORDS,
    _PREPARED,
    Rule(
        "large-objects-open",
        "fatal",
        "lo_compat_privileges",
        ("off",),
        "Every lease could read and change every large object.",
    ),
    Rule("log-statement", "note", "log_statement", ("none",), _LOGS_STATEMENTS),
    Rule("log-duration", "note", "log_min_duration_statement", ("-1",), _LOGS_STATEMENTS),
    Rule("log-error-statement", "note", "log_min_error_statement", ("panic",), _LOGS_STATEMENTS),
    Rule("log-explain", "note", "auto_explain.log_min_duration", ("-1",), _LOGS_STATEMENTS),
)
# Means something only where statements are logged.
_LIVE_PARAMETERS = Rule(
    "log-parameters", "note", "log_parameter_max_length", ("0",), _LOGS_STATEMENTS
)
_LOGGING_STATEMENTS = frozenset({"log-statement", "log-duration"})

_TEST: Final = (
    _PASSWORDS,
    _PREPARED,
    Rule(
        "wal-archived",
        "fatal",
        "archive_mode",
        ("off",),
        "The archive keeps every row of every copy, and no certificate could be true.",
    ),
    Rule(
        "wal-level",
        "warning",
        "wal_level",
        ("minimal",),
        "With `minimal`, rows that are loaded into a new table are not written to the WAL at all.",
        first=(("max_wal_senders", "0"), ("archive_mode", "off")),
    ),
    Rule(
        "wal-senders",
        "warning",
        "max_wal_senders",
        ("0",),
        "Nobody should be able to stream copies away.",
    ),
    Rule(
        "wal-recycled",
        "warning",
        "wal_recycle",
        ("off",),
        "A recycled file keeps old rows until it is written over, which may be much later.",
    ),
    Rule("log-statement", "warning", "log_statement", ("none",), _LOGS_VALUES),
    Rule("log-duration", "warning", "log_min_duration_statement", ("-1",), _LOGS_VALUES),
    Rule("log-sample", "warning", "log_min_duration_sample", ("-1",), _LOGS_VALUES),
    Rule("log-transactions", "warning", "log_transaction_sample_rate", ("0",), _LOGS_VALUES),
    Rule("log-error-statement", "warning", "log_min_error_statement", ("panic",), _LOGS_VALUES),
    Rule(
        "log-error-detail",
        "warning",
        "log_error_verbosity",
        ("terse",),
        "The detail of an error names the row that broke a rule.",
    ),
    Rule("log-parameters", "warning", "log_parameter_max_length", ("0",), _LOGS_VALUES),
    Rule(
        "log-error-parameters", "warning", "log_parameter_max_length_on_error", ("0",), _LOGS_VALUES
    ),
    Rule("log-explain", "warning", "auto_explain.log_min_duration", ("-1",), _LOGS_VALUES),
    Rule(
        "statement-texts",
        "warning",
        "pg_stat_statements.track",
        ("none",),
        "It keeps texts of statements in a file; values stand in some.",
    ),
    Rule(
        "log-files",
        "note",
        "logging_collector",
        ("off",),
        "Log files lie beside the data until somebody deletes them; give them an end.",
    ),
)

_SETTINGS: Final = "SELECT name, setting, source, context FROM pg_settings"


def check_live_settings(place: Place) -> Iterator[Finding]:
    findings = list(_judge(place, _LIVE))
    yield from findings
    if _LOGGING_STATEMENTS & {finding.code for finding in findings}:
        yield from _judge(place, [_LIVE_PARAMETERS])


def check_test_settings(place: Place) -> Iterator[Finding]:
    yield from _judge(place, _TEST)


def check_full_pages(place: Place) -> Iterator[Finding]:
    if place.rows("SELECT current_setting('full_page_writes')")[0][0] == "on":
        yield Finding(
            "wal-full-pages",
            "note",
            "full_page_writes is on",
            "A small change to a sandbox puts whole pages of it into the WAL, where they stay for "
            "some checkpoints. Leave it on: without it a crash may spoil the server.",
        )


def _judge(place: Place, rules: Sequence[Rule]) -> Iterator[Finding]:
    settings = {name: rest for name, *rest in place.rows(_SETTINGS)}
    for rule in rules:
        if rule.setting in settings:
            value, source, context = settings[rule.setting]
            if value not in rule.good:
                yield Finding(
                    rule.code,
                    rule.severity,
                    f"{rule.setting} is {value!r} ({source})",
                    rule.why,
                    _mend(place, rule, source, needs_restart=context == "postmaster"),
                )


def _mend(place: Place, rule: Rule, source: str, *, needs_restart: bool) -> str | None:
    """What is set for a database or a role wins over the server's own: it is taken away there."""
    nearer = {
        "global": "ALTER ROLE ALL",
        "database": f"ALTER DATABASE {place.database}",
        "user": f"ALTER ROLE {place.login}",
        "database user": f"ALTER ROLE {place.login} IN DATABASE {place.database}",
    }.get(source)
    if nearer is not None:
        return script([f"{nearer} RESET {rule.setting}"])
    if source == "command line":
        return None  # no statement wins over it
    changes = [*rule.first, (rule.setting, rule.good[0])]
    sets = [f"ALTER SYSTEM SET {name} = '{value}'" for name, value in changes]
    lines = script([*sets, "SELECT pg_reload_conf()"])
    return lines + ("\n-- It takes effect when the server is restarted." if needs_restart else "")
