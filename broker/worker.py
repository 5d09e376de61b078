"""A worker: runs jobs from the queue. It holds the key port, the tenants' logins and the store.

A job is a hint with an id: what is to be done stands in the row, and doing it twice is harmless. A
job that raises is a defect, is logged, and is met again by the sweep.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from procrastinate import JobContext

from broker import (
    alarms,
    bootstrap,
    commenting,
    janitor,
    mail,
    settling,
    sweeps,
    ticketing,
    watching,
)
from broker.audit.anchoring import build_tsa, stamp_root
from broker.audit.epochs import seal_due
from broker.audit.integrate import integrate_all
from broker.audit.mailing import mail_due
from broker.audit.pruning import load_retention, prune_due
from broker.audit.witnessing import ask_all, cosign_root, parse_witness
from broker.backups import steps as backup_steps
from broker.bootstrap import Broker
from broker.db import Database
from broker.departures import erasing, following
from broker.desk import Desk
from broker.engines.postgres.warm import WarmSessions
from broker.grants import (
    drill_steps,
    glass_steps,
    lease_scopes,
    lease_steps,
    pause_steps,
    planning,
    preflight_steps,
    rotating,
    session_steps,
    statements,
    token_keys,
    token_steps,
    watch_steps,
)
from broker.grants.lease_batches import Batches
from broker.ids import is_id
from broker.jobs import QUEUES
from broker.logs import get_log
from broker.oidc import discovery, redeeming
from broker.oidc.going import answer_address
from broker.outgoing import Outgoing
from broker.snapshots import certificates, destroying, later_looks, making, resetting
from broker.snapshots.lanes import Lane, Lanes, Task, find_owner
from broker.snapshots.ports import Ports
from broker.snapshots.stamping import stamp_certificates
from broker.sweeps import Overtaken
from broker.tickets import TicketSystem
from broker.tx import Tx, system
from broker.webhooks.delivering import deliver_due

_log = get_log(__name__)
_OTHERS = 4  # places that no lane takes: for sweeps, mails and what else is short


def register(broker: Broker, ports: Ports, tickets: TicketSystem | None) -> None:
    """Put every job's function on the queue's application, by name."""
    database, keys, warm = ports.database, ports.keys, WarmSessions()
    issuer, outgoing = broker.settings.web.public_url, Outgoing(broker.settings.outgoing.networks)
    witnesses = [parse_witness(text) for text in broker.settings.log.witnesses]
    cosigner = bootstrap.build_cosigner(broker.settings)
    tsa = build_tsa(broker.settings.log.tsa_url, broker.settings.log.tsa_root)
    by_id: dict[str, Callable[[str], None]] = {
        "plan_grant": lambda i: planning.plan(database, keys, ports.policy, i),
        "issue_lease": lambda i: lease_steps.issue(database, keys, i, ports.queue, warm),
        "hold_lease": lambda i: pause_steps.hold(database, keys, i, ports.queue, warm),
        "revoke_lease": lambda i: lease_steps.revoke(database, keys, i, warm),
        "watch_logins": lambda i: preflight_steps.watch_logins(database, keys, i),
        "watch_sessions": lambda i: watch_steps.watch(database, keys, i, ports.queue, warm),
        "run_drill": lambda i: drill_steps.run(database, keys, i),
        "look_through_glass": lambda i: glass_steps.look(database, keys, i, warm),
        "issue_token": lambda i: token_steps.issue(database, keys, i, issuer, ports.queue),
        "issue_session": lambda i: session_steps.issue(
            database, keys, i, ports.sessions, ports.queue
        ),
        "issue_backup": lambda i: backup_steps.issue(database, keys, i, ports.queue),
        "watch_backup": lambda i: backup_steps.watch(database, keys, i, ports.queue),
        "revoke_backup": lambda i: backup_steps.revoke(database, keys, i, ports.queue),
        "expire_token": lambda i: token_steps.expire(database, i),
        "check_provider": lambda i: discovery.refresh(database, outgoing, i),
        "redeem_code": lambda i: redeeming.redeem(
            database, keys, outgoing, answer_address(issuer), i
        ),
        "rotate_login": lambda i: rotating.rotate(database, keys, i),
        "check_target": lambda i: preflight_steps.check(database, keys, i, ports.queue),
        "drop_scopes": lambda i: _drop_scopes(ports, i),
        "certify_snapshot": lambda i: certificates.certify(ports, i),
        "revoke_certificate": lambda i: certificates.revoke_certificate(ports, i),
    }
    lanes = Lanes()
    in_lanes: dict[str, tuple[Callable[[str], None], Callable[[int], Lane]]] = {
        "copy_snapshot": (lambda i: making.copy(ports, i), lambda _: lanes.makings),
        "reset_snapshot": (lambda i: resetting.reset(ports, i), lambda _: lanes.makings),
        "destroy_snapshot": (lambda i: destroying.destroy(ports, i), lanes.of_end),
        "look_again": (lambda i: later_looks.look_again(ports, i), lambda _: lanes.stuck),
    }
    times = broker.settings.times
    kept = load_retention(broker.settings.tools.config / "log_retention.toml")
    by_fence: dict[str, Callable[[int], int]] = {
        "sweep_ends": lambda fence: _sweep_ends(broker, ports, fence),
        "sweep_retries": lambda fence: sweeps.sweep_retries(database, ports.queue, fence),
        "sweep_checks": lambda fence: sweeps.sweep_checks(
            database, ports.queue, fence, times.rotate_s
        ),
        "sweep_orphans": lambda fence: janitor.sweep_orphans(ports, fence),
        "sweep_alarms": lambda fence: alarms.sweep_alarms(database, fence),
        "sign_statements": lambda _: statements.sign_due(database, keys),
        "turn_token_keys": lambda _: token_keys.turn(database, keys),
        "integrate_logs": lambda _: integrate_all(database, keys),
        "seal_epochs": lambda _: seal_due(database, times.epoch_s),
        "mail_checkpoints": lambda _: mail_due(database),
        "prune_logs": lambda _: prune_due(database, kept),
        "ask_witnesses": lambda _: ask_all(database, witnesses),
        "follow_departures": lambda _: following.follow(database, ports.queue, keys),
        "send_webhooks": lambda _: deliver_due(database, keys, outgoing, issuer),
        "send_mails": lambda _: mail.send_due(database, broker.settings, _read_attachment),
    }
    if cosigner is not None:
        by_fence["cosign_root"] = lambda _: cosign_root(database, cosigner)
    if tsa is not None:
        authority, every_s = tsa, broker.settings.log.tsa_every_s
        by_fence["ask_timestamps"] = lambda _: (
            stamp_certificates(database, authority) + stamp_root(database, authority, every_s)
        )
    if tickets is not None:
        system_of_tickets = tickets
        by_fence["poll_tickets"] = lambda _: ticketing.poll_when_due(
            database, ports.queue, system_of_tickets, times
        )
        by_fence["send_comments"] = lambda _: commenting.send_due(
            database, system_of_tickets, issuer
        )
        by_fence["follow_hints"] = lambda _: ticketing.follow_hints(
            database,
            ports.queue,
            system_of_tickets,
            times,
            answering=broker.settings.tickets.access_comments,
        )
    for name, act in by_id.items():
        broker.queue_app.task(name=name)(_job(name, act))
    for name, (act, lane_of) in in_lanes.items():
        turn = _in_lane(database, name, _job(name, act), lane_of)
        broker.queue_app.task(name=name, pass_context=True)(turn)
    for name, sweep in by_fence.items():
        broker.queue_app.task(name=name)(_sweep(name, sweep))


def _job(name: str, act: Callable[[str], None]) -> Callable[[str], None]:
    def run(identity: str) -> None:
        try:
            act(identity)
        except Exception as error:
            _log.error(
                "job_failed", job=name, id=identity, error=type(error).__name__, exc_info=True
            )
            raise

    return run


def _in_lane(
    database: Database, name: str, act: Callable[[str], None], lane_of: Callable[[int], Lane]
) -> Callable[[JobContext, str], None]:
    """A job on a copy, when it is its turn; `lane_of` is asked with how often it failed."""

    def run(context: JobContext, identity: str) -> None:
        with database.begin(system("worker")) as tx:
            tenant_id, attempts = find_owner(tx, identity)
        task = Task(tenant_id, f"{name} {identity}", lambda: act(identity))
        lane_of(attempts).run(task, context.should_abort)

    return run


def _sweep(name: str, act: Callable[[int], int]) -> Callable[[int], None]:
    def run(fence: int) -> None:
        try:
            act(fence)
        except Overtaken as error:
            _log.warning("sweep_overtaken", sweep=name, reason=error.message)

    return run


def _read_attachment(tx: Tx, identity: str) -> bytes:
    if is_id(identity, "dep"):
        return erasing.read_envelope(tx, identity)
    return certificates.read_attachment(tx, identity)


def _sweep_ends(broker: Broker, ports: Ports, fence: int) -> int:
    if watching.is_sound(ports, broker.settings):
        return sweeps.sweep_ends(ports.database, ports.queue, fence)
    return watching.end_past_labels(ports, broker.settings)


def _drop_scopes(ports: Ports, database_id: str) -> None:
    with ports.database.begin(system("worker")) as tx:
        names = settling.list_unused_scopes(tx, database_id)
    for name in names:
        lease_scopes.drop_scope_if_unused(ports.database, ports.keys, name)


def run(broker: Broker, queues: Sequence[str] = QUEUES, *, wait: bool = True) -> None:
    """Work until told to stop; with `wait=False`, until the queue is empty."""
    ports = bootstrap.build_ports(broker)
    tickets = bootstrap.build_tickets(broker.settings)
    register(broker, ports, tickets)
    bootstrap.publish_keys(ports, broker.settings)
    watching.is_sound(ports, broker.settings)  # before the first job
    _log.info("worker_started", queues=list(queues))
    with _desk(broker, ports, wait=wait) if "access" in queues else contextlib.nullcontext():
        broker.queue_app.run_worker(
            queues=list(queues),
            wait=wait,
            concurrency=Lanes().places + _OTHERS,
            install_signal_handlers=wait,
            fetch_job_polling_interval=2,
            delete_jobs="successful",
            shutdown_graceful_timeout=10,
        )


@contextlib.contextmanager
def _desk(broker: Broker, ports: Ports, *, wait: bool) -> Iterator[None]:
    desk = open_desk(ports)
    if not wait:
        desk.work_due()
        yield
        return
    desk.open(broker.database.listen)
    try:
        yield
    finally:
        desk.close()


def open_desk(ports: Ports) -> Desk:
    batches = Batches(ports.database, ports.keys, WarmSessions())
    return Desk(ports.database, ports.queue, batches)
