-- An organisation's own sign-in (OpenID Connect): where, who is linked, and answers on their way.

CREATE TABLE identity_provider (
    id text PRIMARY KEY,
    tenant_id text REFERENCES tenant (id),
    name text NOT NULL,
    issuer text NOT NULL,
    client_id text NOT NULL,
    sealed_secret bytea,
    groups_claim text NOT NULL DEFAULT 'groups',
    roles jsonb NOT NULL DEFAULT '{}',
    step_up_acr text[] NOT NULL DEFAULT '{}',
    step_up_amr text[] NOT NULL DEFAULT '{}',
    metadata jsonb,
    keys jsonb,
    read_at timestamptz,
    asked_at timestamptz,
    problem text,
    registered_at timestamptz NOT NULL,
    removed_at timestamptz
);
CREATE INDEX identity_provider_of_tenant ON identity_provider (tenant_id) WHERE removed_at IS NULL;

-- By (issuer, sub) and nothing else: an address in a token says nothing.
CREATE TABLE linked_identity (
    provider_id text NOT NULL REFERENCES identity_provider (id),
    subject text NOT NULL,
    person_id text NOT NULL REFERENCES person (id),
    linked_at timestamptz NOT NULL,
    PRIMARY KEY (provider_id, subject),
    UNIQUE (provider_id, person_id)
);
CREATE INDEX linked_identity_of_person ON linked_identity (person_id);

-- A code that a browser brought, sealed, until a worker has redeemed it; then what it proved.
CREATE TABLE oidc_answer (
    id text PRIMARY KEY,
    provider_id text NOT NULL REFERENCES identity_provider (id),
    state_digest bytea NOT NULL UNIQUE,
    nonce text NOT NULL,
    sealed bytea,
    asked_at timestamptz NOT NULL,
    claims jsonb,
    problem text,
    taken_at timestamptz
);
GRANT SELECT, INSERT, UPDATE, DELETE ON identity_provider, linked_identity, oidc_answer TO broker_app;

ALTER TABLE web_session
    ADD COLUMN provider_id text,
    ADD COLUMN provider_sid text,
    ADD COLUMN provider_subject text,
    ADD COLUMN tenant_id text REFERENCES tenant (id),
    DROP CONSTRAINT web_session_via_check,
    ADD CONSTRAINT web_session_via_check
        CHECK (via IN ('password', 'passkey', 'code', 'organisation')),
    ADD CONSTRAINT web_session_of_provider CHECK (via <> 'organisation' OR provider_id IS NOT NULL);
CREATE INDEX web_session_of_provider ON web_session (provider_id) WHERE provider_id IS NOT NULL;
