"""How a verifier's report is shown, and how it ends: exit 9 unless everything holds."""

from __future__ import annotations

from dataclasses import asdict

import click

from broker.audit.verify import Report
from broker.cli.output import print_json
from broker.cli.plain import plain
from broker.errors import VerificationFailed


def show_report(report: Report, form: str, what: str) -> None:
    """A sentence per finding, then the verdict. Raises VerificationFailed unless it is good."""
    if form == "json":
        print_json(
            {
                "ok": report.ok,
                "authenticated": report.authenticated,
                "findings": [asdict(finding) for finding in report.findings],
                "statement": report.statement,
            }
        )
    else:
        for finding in report.findings:
            click.echo(f"{'ok ' if finding.ok else 'BAD'}  {plain(finding.text)}")
    if not report.ok:
        raise VerificationFailed(f"{what} does not verify")
    if form != "json":
        click.echo(f"{what} verifies.")
