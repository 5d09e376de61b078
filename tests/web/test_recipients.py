"""Third parties on the console: the register, an order by two officers, what was handed over."""

from __future__ import annotations

from flask import Flask

from broker.audit.integrate import integrate_all
from broker.tx import system
from tests.web.browser import Browser, sign_in
from tests.world import World, add_person


def test_officers_keep_the_register_and_the_customer_sees_what_was_handed_over(
    app: Flask, admin: Browser, world: World
) -> None:
    integrate_all(world.broker.database, world.ports.keys)
    with world.as_(system("tests")) as tx:
        first, second = (add_person(tx, "privacy_officer", None) for _ in range(2))
    officer, other = sign_in(app, world, first), sign_in(app, world, second)
    about = {"name": "Invented Hosts SA", "country": "FR", "use": "hosts us", "data": "all, sealed"}
    added = officer.submit("/recipients", "/recipients", kind="sub_processor", **about)
    assert added.status_code == 303
    assert "Invented Hosts SA" in admin.page("/recipients")
    assert "/recipients" in admin.page("/")

    path, orders = f"/tenants/{world.tenant}/handovers", f"/tenants/{world.tenant}/orders"
    order = {"authority": "Invented Court", "reference": "2026/4", "asked": "who looked"}
    sent = officer.submit(path, orders, legal_ground="article 0", **order)
    assert sent.status_code == 303
    assert "2026/4" not in admin.page(path)
    assert "2026/4" in other.page("/recipients")
    (order_id,) = [
        part.split("/")[0]
        for part in other.page(path).split("/orders/")[1:]
        if "/confirm" in part[:50]
    ]
    assert officer.submit(path, f"/orders/{order_id}/confirm").status_code == 403
    assert other.submit(path, f"/orders/{order_id}/confirm").status_code == 303
    assert "2026/4" in admin.page(path)
    made = other.submit(path, path, to=order_id, certificate="", reason="the court ordered it")
    assert made.status_code == 200
    assert made.headers["Content-Disposition"].endswith('.json"') or "hnd_" in str(made.headers)
    assert "the court ordered it" in admin.page(path)
    assert admin.act(path, to=order_id, reason="not mine to do").status_code == 403
