"""How a verifier's report is shown, and how it ends: exit 9 unless everything holds."""

from __future__ import annotations

from dataclasses import asdict

import click

from broker.audit.findings import Report
from broker.cli.output import WHOLE, print_whole
from broker.cli.plain import plain
from broker.errors import VerificationFailed


def show_report(report: Report, form: str, what: str) -> None:
    """A sentence per finding, then the verdict. Raises VerificationFailed unless it is good."""
    if form in WHOLE:
        print_whole(
            {
                "ok": report.ok,
                "authenticated": report.authenticated,
                "findings": [asdict(finding) for finding in report.findings],
                "statement": report.statement,
            },
            form,
        )
    else:
        for finding in report.findings:
            click.echo(f"{'ok ' if finding.ok else 'BAD'}  {plain(finding.text)}")
    if not report.ok:
        raise VerificationFailed(f"{what} does not verify")
    if form not in WHOLE:
        click.echo(f"{what} verifies.")
