-- Of a login: what a superuser could run when its end is stuck, where its end was looked at, the id
-- by which a session that outlives it is known, and when somebody was first seen in it.

ALTER TABLE lease
    ADD COLUMN stuck_sql text,
    ADD COLUMN looked_at jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN role_oid bigint,
    ADD COLUMN first_seen_at timestamptz;

-- Sessions are looked for while a login is open, and for a while after its end.
CREATE INDEX lease_ended_lately ON lease (role_gone_at) WHERE role_oid IS NOT NULL;
