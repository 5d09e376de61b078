"""How long records are kept; and pictures of what went wrong, without identifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from broker.retention import improving, running, schedule
from broker.retention.improving import ImprovementRow
from broker.web.languages import current, gettext
from broker.web.session import begin

pages = Blueprint("retention", __name__)
_WIDTH = 60  # of the longest bar, in the picture's own units


@pages.get("/retention")
def show() -> ResponseReturnValue:
    with begin() as tx:
        found = running.read(tx)
        runs = running.list_runs(tx, most=10)
    return render_template("console/retention.html", found=found, runs=runs, language=current())


@pages.post("/retention/confirm")
def confirm() -> ResponseReturnValue:
    with begin() as tx:
        schedule.confirm(tx, request.form.get("digest", ""))
    flash(gettext("Confirmed. It is carried out from tonight on."))
    return redirect(url_for(".show"), 303)


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a month's picture; `width` of `_WIDTH`."""

    label: tuple[str, str, str]
    records: int
    median_hours: int
    width: float


@pages.get("/improvement")
def show_improvement() -> ResponseReturnValue:
    with begin() as tx:
        rows, reports = improving.list_rows(tx), improving.list_reports(tx)
        months = [
            (report, _bars([r for r in rows if r.month == report.month])) for report in reports
        ]
        return render_template("console/improvement.html", months=months, least=improving.K)


def _bars(rows: Sequence[ImprovementRow]) -> list[Bar]:
    most = max((row.records for row in rows), default=1)
    return [
        Bar(
            (row.about, row.severity, row.kind),
            row.records,
            row.median_hours,
            row.records / most * _WIDTH,
        )
        for row in rows
    ]
