"""Figures as a monitoring system scrapes them: Prometheus' text format, version 0.0.4. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from broker.figures import Figures, Kept

MEDIA_TYPE = "text/plain"
_Sample = tuple[Mapping[str, str], float]


def write_metrics(figures: Figures) -> str:
    """Each metric with its help and its type; all are gauges, for all can fall."""
    lines: list[str] = []
    for name, says, samples in _metrics(figures):
        lines += [f"# HELP {name} {says}", f"# TYPE {name} gauge"]
        lines += [f"{name}{_labels(labels)} {value:.15g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _metrics(figures: Figures) -> Iterator[tuple[str, str, Sequence[_Sample]]]:
    yield from _kept("broker_copies", "Copies", figures.copies)
    yield "broker_copies_held", "Copies kept sealed under a legal hold.", [({}, figures.held)]
    yield from _kept("broker_logins", "Logins, tokens and sessions", figures.logins)
    shares = {"0.5": figures.closed_p50_s, "0.99": figures.closed_p99_s}
    yield (
        "broker_closed_to_destroyed_seconds",
        "From a copy's condemnation to its destruction, of those destroyed within 30 days.",
        [({"quantile": share}, value) for share, value in shares.items() if value is not None],
    )
    yield (
        "broker_sweep_age_seconds",
        "Since a sweep of this kind ran last.",
        [({"kind": one.kind}, one.age_s) for one in figures.sweeps],
    )
    yield (
        "broker_finds_open",
        "What the janitor found that is not over.",
        [({"noun": one.noun, "kind": one.kind}, one.count) for one in figures.finds],
    )
    yield (
        "broker_late",
        "Promises that are late by more than so many seconds.",
        [({"what": o.what, "over": str(o.over_s)}, o.count) for o in figures.late],
    )
    yield "broker_unlogged", "Entries without position or signature.", [({}, figures.unlogged)]
    oldest = figures.unlogged_oldest_s
    yield "broker_unlogged_oldest_seconds", "The age of the oldest of them.", [({}, oldest or 0.0)]


def _kept(
    name: str, what: str, kept: Sequence[Kept]
) -> Iterator[tuple[str, str, Sequence[_Sample]]]:
    yield name, f"{what} by state.", [({"state": one.state}, one.count) for one in kept]
    stuck = [({"state": one.state}, float(one.stuck)) for one in kept]
    yield f"{name}_stuck", f"{what} that are tried again after a failure.", stuck
    oldest = [({"state": one.state}, one.oldest_s) for one in kept]
    yield f"{name}_oldest_seconds", f"{what}: the longest in that state.", oldest


def _labels(labels: Mapping[str, str]) -> str:
    """Values are words of ours, and are escaped all the same."""
    if not labels:
        return ""
    escapes = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    return "{" + ",".join(f'{k}="{v.translate(escapes)}"' for k, v in labels.items()) + "}"
