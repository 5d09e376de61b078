-- How many logins were asked for lately: by a person, for a tenant, on a server.

ALTER TABLE lease ADD COLUMN asked_at timestamptz;
UPDATE lease SET asked_at = state_at;
ALTER TABLE lease ALTER COLUMN asked_at SET NOT NULL, ALTER COLUMN asked_at SET DEFAULT now();
CREATE INDEX lease_asked_by ON lease (person_id, asked_at) WHERE platform_id IS NULL;
CREATE INDEX lease_asked_for ON lease (tenant_id, asked_at) WHERE platform_id IS NULL;
CREATE INDEX lease_asked_on_database ON lease (database_id, asked_at) WHERE database_id IS NOT NULL;
CREATE INDEX lease_asked_on_server ON lease (server_id, asked_at) WHERE server_id IS NOT NULL;
