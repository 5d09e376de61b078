"""The clock: enqueues sweeps at their intervals. Nothing durable lives here.

Two may run; one leads, by a row lease with a fencing number that goes up with every new leader and
that every sweep carries, so that an overtaken leader's sweeps do nothing. A session lock would be
lost whenever a pool recycles its connection.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from datetime import timedelta

import sqlalchemy as sa
from apscheduler.schedulers.background import BackgroundScheduler

from broker.bootstrap import Broker
from broker.logs import get_log
from broker.settings import Times
from broker.tx import system

_LEAD = timedelta(seconds=10)
_RENEW_S = 2
_ACTOR = system("scheduler")
_log = get_log(__name__)

_TAKE = sa.text("""
    INSERT INTO scheduler_lead (singleton, holder, fence, until)
    VALUES (true, :holder, 1, clock_timestamp() + :lead)
    ON CONFLICT (singleton) DO UPDATE SET
        holder = excluded.holder,
        fence = scheduler_lead.fence + (scheduler_lead.holder <> excluded.holder)::int,
        until = excluded.until
    WHERE scheduler_lead.holder = excluded.holder OR scheduler_lead.until < clock_timestamp()
    RETURNING fence
""")


class Lead:
    """Takes and renews the lead; `fence` is None while another leads."""

    def __init__(self, broker: Broker) -> None:
        self._database = broker.database
        self._holder = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(4)}"
        self.fence: int | None = None

    def renew(self) -> None:
        before = self.fence
        try:
            with self._database.begin(_ACTOR) as tx:
                values = {"holder": self._holder, "lead": _LEAD}
                self.fence = tx.session.execute(_TAKE, values).scalar()
        except sa.exc.DBAPIError as error:
            self.fence = None
            _log.error("control_database_unavailable", error=type(error.orig).__name__)
        if self.fence != before:
            _log.info("lead_changed", fence=self.fence)


def run(broker: Broker, stop: threading.Event | None = None) -> None:
    """Tick until told to stop (SIGTERM, SIGINT, or `stop`)."""
    ended = stop or threading.Event()
    if stop is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
    lead = Lead(broker)
    lead.renew()
    clock = BackgroundScheduler(timezone="UTC")
    options = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    clock.add_job(lead.renew, "interval", seconds=_RENEW_S, **options)
    for name, seconds in intervals(broker.settings.times).items():
        if not _is_wanted(broker, name):
            continue
        clock.add_job(_tick, "interval", args=[broker, lead, name], seconds=seconds, **options)
    clock.start()
    _log.info("scheduler_started")
    ended.wait()
    clock.shutdown(wait=True)


def intervals(times: Times) -> dict[str, int]:
    """Seconds between two ticks of each sweep. `sweep_x` leaves a run of kind `x` behind."""
    return {
        "sweep_ends": times.sweep_s,
        "sweep_retries": min(times.sweep_s, 5),
        "sweep_checks": times.janitor_s,
        "sweep_orphans": times.janitor_s,
        "sweep_alarms": times.janitor_s,
        "poll_tickets": min(times.poll_tickets_s, 15),  # asks whether one is due
        "follow_hints": min(times.sweep_s, 5),
        "send_comments": min(times.sweep_s, 5),
        "sign_statements": 2,
        "turn_token_keys": times.janitor_s,
        "integrate_logs": times.integrate_s,
        "ask_witnesses": 60,
        "ask_timestamps": 60,
        "cosign_root": 5,
        "prune_logs": max(times.janitor_s, 3600),
        "mail_checkpoints": max(times.janitor_s, 600),
        "seal_epochs": min(times.epoch_s, 60),  # asks whether one is due
        "follow_departures": times.janitor_s,
        "send_mails": 2,
        "send_webhooks": 2,
    }


TICKETS = frozenset(
    {"poll_tickets", "follow_hints", "send_comments"}
)  # no worker knows them without a system


def _is_wanted(broker: Broker, name: str) -> bool:
    tickets = broker.settings.tickets
    if name == "send_comments" and not tickets.comments:
        return False
    if name == "ask_witnesses":
        return bool(broker.settings.log.witnesses)
    if name == "cosign_root":
        return broker.settings.log.ml_dsa
    if name == "ask_timestamps":
        return broker.settings.log.tsa_url is not None
    return name not in TICKETS or tickets.url is not None


def _tick(broker: Broker, lead: Lead, name: str) -> None:
    if lead.fence is None:
        return
    try:
        with broker.database.begin(_ACTOR) as tx:
            if not broker.queue.is_waiting(tx, name):
                broker.queue.put_sweep(tx, name, lead.fence)
    except sa.exc.DBAPIError as error:
        _log.error("control_database_unavailable", error=type(error.orig).__name__)
