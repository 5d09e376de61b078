"""The commands that are processes of the broker: they read settings, log, and run until told."""

from __future__ import annotations

import os
import sys

import click

_WEB_WORKERS, _WEB_THREADS = 2, 16  # four of the threads may wait, see api/waiting.py


@click.command()
def migrate() -> None:
    """Bring the control database to the newest form, as its owner."""
    from broker import bootstrap
    from broker.logs import setup_logs
    from broker.settings import load_settings

    setup_logs()
    bootstrap.migrate(load_settings())
    click.echo("The control database has the newest form.")


@click.command()
@click.option("--bind", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT")
@click.option("--workers", type=click.IntRange(1, 64), default=_WEB_WORKERS, show_default=True)
@click.option("--threads", type=click.IntRange(1, 64), default=_WEB_THREADS, show_default=True)
def web(bind: str, workers: int, threads: int) -> None:
    """Serve the API and the console, behind a proxy that speaks TLS."""
    from broker.settings import load_settings

    load_settings()  # a bad setting is one sentence here, and a trace in each of gunicorn's workers
    command = [
        *(sys.executable, "-m", "gunicorn", "--bind", bind),
        *("--worker-class", "gthread", "--workers", str(workers), "--threads", str(threads)),
        *("--graceful-timeout", "20", "--no-control-socket"),
        "broker.http:wsgi()",
    ]
    # This process becomes gunicorn: what started it signals the server itself.
    os.execv(sys.executable, command)  # noqa: S606  # no shell is meant


@click.command()
@click.option(
    "--queues", metavar="NAME,…", help="Which queues to work on, by commas; all when it is missing."
)
def worker(queues: str | None) -> None:
    """Work on jobs: plans, logins, copies, destructions, mails, the log."""
    from broker import bootstrap
    from broker import worker as working
    from broker.errors import Invalid
    from broker.jobs import QUEUES
    from broker.logs import setup_logs
    from broker.settings import load_settings

    names = queues.split(",") if queues is not None else list(QUEUES)
    if unknown := sorted(set(names) - set(QUEUES)):
        raise Invalid(f"there is no queue {', '.join(unknown)}; there are {', '.join(QUEUES)}")
    setup_logs()
    broker = bootstrap.build(load_settings())
    try:
        working.run(broker, names)
    finally:
        broker.close()


@click.command()
def scheduler() -> None:
    """Tick: enqueue what is due. Two may run; one leads."""
    from broker import bootstrap
    from broker import scheduler as ticking
    from broker.logs import setup_logs
    from broker.settings import load_settings

    setup_logs()
    broker = bootstrap.build(load_settings())
    try:
        ticking.run(broker)
    finally:
        broker.close()
