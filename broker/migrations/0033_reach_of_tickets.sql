-- Ticket systems that can't be reached are shown; hints that can't be followed are put off; a ticket
-- that was closed and opened again between two looks is known by its mark.

CREATE TABLE ticket_system (
    name text PRIMARY KEY,
    reached_at timestamptz,
    attempts bigint NOT NULL,
    next_try_at timestamptz,
    stuck_since timestamptz,
    stuck_reason text
);
GRANT SELECT, INSERT, UPDATE ON ticket_system TO broker_app;

ALTER TABLE ticket ADD COLUMN reopened text;
ALTER TABLE ticket_hint
    ADD COLUMN tries bigint NOT NULL DEFAULT 0,
    ADD COLUMN next_try_at timestamptz;
GRANT DELETE ON webhook_seen TO broker_app;
