-- The next password of our login beside the one that works, and since when a login is refused.

ALTER TABLE tenant_database
    ADD COLUMN next_sealed_password bytea, ADD COLUMN rotated_at timestamptz,
    ADD COLUMN refused_since timestamptz;
ALTER TABLE test_server
    ADD COLUMN next_sealed_password bytea, ADD COLUMN rotated_at timestamptz,
    ADD COLUMN refused_since timestamptz;
