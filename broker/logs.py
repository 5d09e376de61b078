"""Structured logs: JSON in production, colours on a terminal.

`Secret` is the first barrier of G11; the processor here is the second: it hides the values of
keys that sound like secrets and anything that looks like a password in a connection string.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_KEYS = re.compile(r"pass|secret|token|dsn|verifier|authorization|cookie|private", re.IGNORECASE)
_URL = re.compile(r"(\w+://[^:/@\s]+:)[^@\s]+@")
_PAIR = re.compile(r"(password\s*=\s*)('[^']*'|\S+)", re.IGNORECASE)
_TOKEN = re.compile(r"brk_[A-Za-z0-9_-]{20,}")


def redact(text: str) -> str:
    """Return `text` without passwords in URLs or connection strings, and without API tokens."""
    text = _URL.sub(r"\1…@", text)
    text = _PAIR.sub(r"\1…", text)
    return _TOKEN.sub("brk_…", text)


def _redact_event(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key != "event" and _KEYS.search(key):
            event[key] = "…"
        elif isinstance(value, str):
            event[key] = redact(value)
    return event


def setup_logs(*, json: bool | None = None, level: str = "INFO") -> None:
    """Send structlog's and the standard library's records to standard error."""
    as_json = not sys.stderr.isatty() if json is None else json
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    render = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [out]
    root.setLevel(level)
    for noisy in ("procrastinate", "apscheduler", "httpx", "httpcore", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def get_log(name: str) -> structlog.stdlib.BoundLogger:
    log: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return log
