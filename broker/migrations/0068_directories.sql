-- Directories of tenants (SCIM 2.0), and what they say of people.

CREATE TABLE directory (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('admin', 'auditor')),
    token_digest bytea NOT NULL UNIQUE,
    registered_at timestamptz NOT NULL,
    used_at timestamptz,
    removed_at timestamptz
);
CREATE INDEX directory_of_tenant ON directory (tenant_id) WHERE removed_at IS NULL;

CREATE TABLE directory_person (
    tenant_id text NOT NULL REFERENCES tenant (id),
    person_id text NOT NULL REFERENCES person (id),
    external_id text,
    roles text[] NOT NULL DEFAULT '{}',
    shown_name text NOT NULL,
    shown_email text NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, person_id)
);
CREATE UNIQUE INDEX directory_person_by_external_id
    ON directory_person (tenant_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX directory_person_of_person ON directory_person (person_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON directory, directory_person TO broker_app;
