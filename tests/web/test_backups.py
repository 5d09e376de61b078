"""Regular backups on the console: declared, consented to, shown with their ends; restores."""

from __future__ import annotations

from flask import Flask

from broker import enrolling
from broker.backups import runs
from broker.backups.runs import Report
from broker.engines.postgres.scram import make_verifier, new_password
from broker.tx import Actor
from tests.web.browser import Browser, Form, read_forms, sign_in
from tests.world import World


def test_a_customer_reads_consents_sees_and_decides_about_a_backup(
    app: Flask, admin: Browser, world: World
) -> None:
    with world.as_(world.operator) as tx:
        program = Actor("vendor", "token", enrolling.add_service(tx, None, "nightly"))
    operator, path = sign_in(app, world, world.operator), f"/tenants/{world.tenant}/backups"
    said = {"host": "192.0.2.7", "place": "s3://invented/backups", "closes": "02:00"}
    who = {"runner_id": program.person_id or "", "database_id": world.database_id}
    assert operator.submit(path, path, **said, **who).status_code == 303
    page = admin.page(path)
    assert path in admin.page("/")
    backup_id = page.split('href="/backups/')[1].split('"')[0]
    give = find_give(admin, f"/tenants/{world.tenant}/consents", backup_id)
    assert admin.post(give.action, give.fields).status_code == 303

    with world.as_(program) as tx:
        run_id = runs.begin(tx, backup_id, make_verifier(new_password()), world.broker.queue)
        runs.report(tx, run_id, Report("done", 4096, "0" * 64, "a bucket"), world.broker.queue)
    shown = f"/backups/{backup_id}"
    assert "4.1 kB" in admin.page(shown)
    wanted = {"ticket_id": world.ticket(), "target": "beside the live one", "hours": "2"}
    asked = f"/backup-runs/{run_id}/restores"
    assert f'action="{asked}"' not in admin.page(shown)
    sent = operator.submit(shown, asked, reason="three orders were lost", **wanted)
    assert sent.status_code == 303
    restore = admin.page(path).split('action="/restores/')[1].split("/")[0]
    assert operator.act(f"/restores/{restore}/allow").status_code == 403
    for verb in ("allow", "refuse"):
        assert admin.submit(path, f"/restores/{restore}/{verb}").status_code == 303
    assert admin.submit(shown, f"{shown}/end").status_code == 303
    assert f"{shown}/end" not in admin.page(shown)


def find_give(admin: Browser, consents: str, backup_id: str) -> Form:
    page = admin.page(consents)
    assert "192.0.2.7" in page  # what is consented to is read first
    (form,) = [one for one in read_forms(page).forms if backup_id in one.names("about")]
    return form
