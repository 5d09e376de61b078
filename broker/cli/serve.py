"""`broker serve`: web, worker and scheduler as one; and the world of the demo.

What must stay true: the parts end together. When one ends, or this process is told to, or is
killed, none is left.
"""

from __future__ import annotations

import ctypes
import importlib
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

import click

from broker.errors import Unavailable

_STOP_S = 30
_LOOK_S = 0.5


@click.command()
@click.option("--embedded", is_flag=True, help="With servers of its own: a world to try.")
@click.option("--bind", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT")
@click.pass_context
def serve(ctx: click.Context, *, embedded: bool, bind: str) -> None:
    """Run web, worker and scheduler together until told to stop."""
    if embedded:
        _serve_embedded(ctx)
    from broker.settings import load_settings

    load_settings()
    run_together((("web", "--bind", bind), ("worker",), ("scheduler",)))


@click.command()
@click.pass_context
def up(ctx: click.Context) -> None:
    """A whole world on this machine, to try: the same as serve --embedded."""
    _serve_embedded(ctx)


def _serve_embedded(ctx: click.Context) -> None:
    # By name: the demo's layer is above this one.
    ctx.exit(importlib.import_module("broker.demo.run").serve() or 0)


@click.command()
@click.pass_context
def demo(ctx: click.Context) -> None:
    """Tell the whole story on real servers, and check every step of it."""
    ctx.exit(importlib.import_module("broker.demo.run").main() or 0)


def run_together(parts: Sequence[Sequence[str]]) -> None:
    """Run each as `broker PART…` until SIGTERM, SIGINT, or one's end. Raises Unavailable then."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: told.set())
    children = {part[0]: _start(part) for part in parts}
    try:
        while not told.wait(_LOOK_S):
            ended = [name for name, child in children.items() if child.poll() is not None]
            if ended:
                raise Unavailable(f"{', '.join(ended)} ended by itself; all others were ended too")
    finally:
        _stop(list(children.values()))


def _start(part: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "broker.cli", *part],
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us; we end the children in order
        preexec_fn=_end_with_parent,  # noqa: PLW1509  # the child only asks to end with us
    )


def _end_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _stop(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
