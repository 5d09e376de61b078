-- Passkeys, their challenges, what one said of a decision, and how and when a session was proved.

CREATE TABLE passkey (
    id text PRIMARY KEY,
    person_id text NOT NULL REFERENCES person (id),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    credential_id bytea NOT NULL UNIQUE,
    cose_key bytea NOT NULL,
    public_key bytea NOT NULL,
    sign_count bigint NOT NULL,
    created_at timestamptz NOT NULL,
    used_at timestamptz,
    ended_at timestamptz
);
CREATE INDEX passkey_of_person ON passkey (person_id);
-- A key is never exchanged for another, nor moved to another person.
GRANT SELECT, INSERT, DELETE ON passkey TO broker_app;
GRANT UPDATE (name, sign_count, used_at, ended_at) ON passkey TO broker_app;

CREATE TABLE passkey_challenge (
    value bytea PRIMARY KEY,
    purpose text NOT NULL CHECK (purpose IN ('register', 'sign_in', 'confirm', 'decide')),
    bound_to text NOT NULL,
    address text CHECK ((purpose = 'sign_in') = (address IS NOT NULL)),
    decision_id text CHECK ((purpose = 'decide') = (decision_id IS NOT NULL)),
    expires_at timestamptz NOT NULL
);
CREATE INDEX passkey_challenge_by_end ON passkey_challenge (expires_at);
GRANT SELECT, INSERT, DELETE ON passkey_challenge TO broker_app;

ALTER TABLE decision ADD COLUMN assertion jsonb;

ALTER TABLE web_session
    ADD COLUMN via text NOT NULL DEFAULT 'password' CHECK (via IN ('password', 'passkey')),
    ADD COLUMN authenticated_at timestamptz;
UPDATE web_session SET authenticated_at = created_at;
ALTER TABLE web_session
    ALTER COLUMN via DROP DEFAULT,
    ALTER COLUMN authenticated_at SET NOT NULL;
