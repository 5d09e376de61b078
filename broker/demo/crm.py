"""Builds the demo's tenant database: `crm.sql`, then the rows that carry marks.

Every canary stands in several rows of ordinary shape, so that a rule that spares one row is seen
too. All rows with marks are short: see `canaries`.
"""

from __future__ import annotations

from importlib import resources
from ipaddress import IPv6Address

import psycopg
from psycopg.types.json import Jsonb

from broker.demo.canaries import KEPT_IN_COLUMN, Marks
from broker.engines import Target
from broker.engines.postgres.connect import connect

MARKED_ROWS = 3  # of each table that holds marks
# One statement, so that it reads as the list of places. Foreign keys are checked when it ends.
_PLANT = """
WITH company AS (
  INSERT INTO crm.companies (name, sector, country, address)
  VALUES (%(company)s, 'food', 'FR', 'Nowhere Street, Sampleton') RETURNING id
), contact AS (
  INSERT INTO crm.contacts (company_id, first_name, last_name, job_title, email, phone, address,
                            birth_date, notes, preferences, tags)
  SELECT id, 'Adal', %(name)s, %(varchar)s, %(email)s, %(phone)s, %(address)s,
         '1970-01-01', %(text)s, %(preferences)s, ARRAY['vip', %(tag)s]
  FROM company RETURNING id, company_id
), account AS (
  INSERT INTO crm.users (company_id, login_email, password_hash, api_key, last_ip)
  SELECT id, %(login)s, %(password)s, %(api-key)s, %(ip)s FROM company RETURNING id
), purchase AS (
  INSERT INTO crm.orders (ordered_at, company_id, contact_id, reference)
  SELECT '2026-06-01', company_id, id, %(reference)s FROM contact RETURNING id, ordered_at
), line AS (
  INSERT INTO crm.order_lines (order_id, ordered_at, product, quantity, unit_price)
  SELECT id, ordered_at, 'Flour', 3, 12.50 FROM purchase
), ticket AS (
  INSERT INTO crm.tickets (company_id, contact_id, assignee_id, status, title)
  SELECT contact.company_id, contact.id, account.id, 'open', %(title)s
  FROM contact, account RETURNING id, company_id
), note AS (
  INSERT INTO crm.notes (company_id, author_id, ticket_id, body, details)
  SELECT ticket.company_id, account.id, ticket.id, %(free-text)s, %(details)s
  FROM ticket, account RETURNING id
)
INSERT INTO crm.attachments (note_id, file_name, mime, content)
SELECT id, %(file-name)s, 'text/plain', %(bytes)s FROM note
"""


def build_crm(target: Target, *, marks: Marks, scale: float = 1.0) -> None:
    """Make schema `crm`, owned by the role `crm_app`: about 300,000 rows at scale 1.0.

    `target` is a superuser's login, or one that may create schemas and become `crm_app`. All or
    nothing; fails when the schema is there.
    """
    script = resources.files("broker.demo").joinpath("crm.sql").read_bytes()
    with connect(target) as connection, connection.transaction():
        connection.execute("SELECT set_config('crm.scale', %s, true)", (str(scale),))
        connection.execute(script)
        for number in range(1, MARKED_ROWS + 1):
            _plant(connection, marks, number)
        connection.execute("REFRESH MATERIALIZED VIEW crm.company_revenue")
        connection.execute("ANALYZE")


def _plant(connection: psycopg.Connection[tuple[object, ...]], marks: Marks, number: int) -> None:
    values = marks.canaries
    unique = {  # the same canary in each row, in a value that no other row has
        "email": f"{values['email']}.{number}@crm.test",
        "login": f"{values['login']}.{number}@login.test",
    }
    composed = {
        "phone": f"+{values['phone']}",
        "ip": IPv6Address(values["ip"]),
        "text": f"Asks for {values['text']} on Mondays",
        "preferences": Jsonb({"language": "fr", values["json-key"]: values["json-value"]}),
        "free-text": f"Spoke with {values['free-text']} about the late parcel",
        "details": Jsonb({"channel": "phone", "parties": [{"name": values["note-json"]}]}),
        "file-name": f"{values['file-name']}.txt",
        "bytes": b"\x00\xff" + values["bytes"].encode() + b"\x00",
    }
    reference = {"reference": f"PO-{marks.kept[KEPT_IN_COLUMN]}-{number}"}
    connection.execute(_PLANT, {**values, **unique, **composed, **reference})
