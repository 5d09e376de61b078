"""`make demo` and `make serve`: build the world, tell the story or leave it up, take all down."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from broker.demo import leftovers, set_up, story
from broker.demo.processes import ChildFailed
from broker.demo.story import Story, new_story
from broker.demo.world import DemoWorld, built_world
from broker.errors import BrokerError
from broker.logs import setup_logs

STEPS: tuple[tuple[str, Callable[[Story], None]], ...] = (
    ("A vendor, two tenants, their people, a CRM with 300,000 rows", set_up.enrol),
    ("A ticket opens in the ticket system", story.open_ticket),
    ("The engineer asks for live access and a copy", story.ask),
    ("The customer's admin reads the plan, narrows it, approves", story.decide),
    ("Live access: masked, read only", story.live_access),
    ("The copy: masked at the source, sealed, loaded, checked", story.copy),
    ("Meanwhile, in the sandbox's files", leftovers.look_while_alive),
    ("The ticket closes; nobody does anything", story.close_ticket),
    ("What is left on disk", leftovers.scan_all),
    ("Verifying offline, without trusting us", story.verify),
)


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    seconds: float
    passed: bool


STOPPED = "stopped"


class Stopped(Exception):  # a signal, not a fault
    """Ctrl-C or SIGTERM."""


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stopped


def main(scale: float = 1.0) -> int:
    """Tell the story; 0 only if every step held. Writes `var/demo/report.json`."""
    setup_logs(level="WARNING")
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    console, clone = Console(highlight=False), Path.cwd()
    began = time.monotonic()
    steps: list[Step] = []
    figures: dict[str, float | int | str] = {}
    problem = ""
    try:
        with built_world(clone, "demo", scale=scale) as world:
            built_s = time.monotonic() - began
            console.print(
                f"The world is built: three PostgreSQL servers and the broker ({built_s:.1f} s)."
            )
            told = new_story(world, _teller(console))
            try:
                _tell(console, told, steps)
            finally:
                figures = dict(told.figures)
                figures["built_s"] = round(built_s, 1)
    except Stopped:
        problem = STOPPED
    except BrokerError as error:
        problem = error.message
    except Exception as error:  # noqa: BLE001  # the demo says what failed, and exits with 1
        problem = f"{type(error).__name__}: {error}"
    figures["total_s"] = round(time.monotonic() - began, 1)
    held = not problem and len(steps) == len(STEPS)
    _write_report(clone / "var" / "demo", steps, figures)
    _sum_up(console, clone, figures, problem)
    return 0 if held else 1


def _teller(console: Console) -> Callable[[str], None]:
    """Prints a line of the story, indented also where it wraps; the same line twice only once."""
    last = [""]

    def say(line: str) -> None:
        if line != last[0]:
            indent = 3 + len(line) - len(line.lstrip())
            console.print(Padding(Text(line.strip()), (0, 0, 0, indent)))
        last[0] = line

    return say


def _tell(console: Console, told: Story, steps: list[Step]) -> None:
    for number, (name, act) in enumerate(STEPS, start=1):
        console.print(f"\n{number:>2}. {name}", style="bold")
        began = time.monotonic()
        try:
            act(told)
            told.world.check_alive()
        except BaseException:
            steps.append(Step(name, round(time.monotonic() - began, 2), passed=False))
            raise
        steps.append(Step(name, round(time.monotonic() - began, 2), passed=True))


def _write_report(folder: Path, steps: list[Step], figures: dict[str, float | int | str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    report = {"steps": [asdict(step) for step in steps], "figures": figures}
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")


def _sum_up(
    console: Console, clone: Path, figures: dict[str, float | int | str], problem: str
) -> None:
    console.print()
    console.print(Rule())
    if problem == STOPPED:
        console.print("Stopped before its end; everything was taken down.", style="bold")
        return
    if problem:
        console.print(f"The story did NOT hold: {problem}", style="bold red", markup=False)
        console.print(f"Logs are in {clone / 'var' / 'demo' / 'logs'}.")
        return
    console.print("Every step held.", style="bold green")
    console.print(
        f"Copy of {figures['rows_copied']:,} rows {figures['copy_s']} s; from the ticket's closing "
        f"to destroyed and certified {figures['close_to_destroyed_s']} s; "
        f"in all {figures['total_s']} s."
    )
    for what, name in (("Certificate", "certificate.dsse.json"), ("Log bundle", "log.bundle.json")):
        console.print(f"{what}: var/demo/{name}")
    keys = next((clone / "var" / "demo" / "homes" / "ada" / "trust").rglob("*.keys"), Path())
    console.print("Check them yourself, without a network, by the keys that Ada pinned:")
    for noun, name in (("log", "log.bundle.json"), ("certificates", "certificate.dsse.json")):
        command = (
            f"  .venv/bin/broker {noun} verify var/demo/{name} --key {keys.relative_to(clone)}"
        )
        console.print(command, soft_wrap=True, markup=False)


def serve() -> int:
    """The same world, left standing until Ctrl-C, with the console up."""
    setup_logs(level="WARNING")
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    console = Console(highlight=False)
    try:
        with built_world(Path.cwd(), "serve", scale=0.1) as world:
            told = new_story(world, _teller(console))
            set_up.enrol(told)
            story.open_ticket(told)
            _say_accounts(console, told)
            _wait(world)
    except Stopped:
        console.print("Stopping …")
        return 0
    except BrokerError as error:
        console.print(error.message, style="bold red", markup=False)
        return 1
    return 0


def _say_accounts(console: Console, told: Story) -> None:
    console.print(f"\nThe console: [bold]{told.world.url}[/bold]")
    for person, role in (
        (told.operator, "operator of the vendor"),
        (told.engineer, "engineer of the vendor"),
        (told.admin, "admin of First Tenant"),
        (told.neighbour, "admin of Second Tenant"),
    ):
        console.print(f"  {role:24} {person.email:28} {person.password.reveal()}", markup=False)
    console.print(
        f"Open ticket: {told.external_id}. Mails: {told.world.mails.folder}. Ctrl-C ends all."
    )


def _wait(world: DemoWorld) -> None:
    pause = threading.Event()
    while not pause.wait(1):
        try:
            world.check_alive()
        except ChildFailed as error:
            sys.stderr.write(error.message + "\n")
            raise


if __name__ == "__main__":
    raise SystemExit(main())
