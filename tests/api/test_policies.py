"""Reminders and an escalation through the API: set, read back, refused by field."""

from __future__ import annotations

from tests.api.conftest import Api


def test_reminders_and_an_escalation_are_kept_as_they_were_set(api: Api) -> None:
    path = f"/tenants/{api.world.tenant}/approval-policy"
    person = api.world.admin.person_id
    chosen = {"reminders": [10, 80], "escalate_after_s": 3600, "escalate_to": [person]}
    assert api.post(api.world.admin, path, {"approvals": 1, **chosen}).status_code == 200
    policy = api.get(api.world.admin, path).json["policy"]
    assert {name: policy[name] for name in chosen} == chosen
    for field, wrong in (
        ("reminders.0", {"reminders": [0]}),
        ("reminders", {"reminders": [10, 20, 30, 40, 50, 60]}),
        ("escalate_to", {"escalate_after_s": 3600, "escalate_to": [api.world.engineer.person_id]}),
    ):
        answer = api.post(api.world.admin, path, {"approvals": 1, **wrong})
        assert answer.status_code == 422, wrong
        assert field in answer.json["fields"], answer.json
