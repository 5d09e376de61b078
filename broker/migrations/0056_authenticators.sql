-- Authenticator apps and recovery codes of persons; and a session says that a code was given.

CREATE TABLE authenticator (
    person_id text PRIMARY KEY REFERENCES person (id),
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    confirmed_at timestamptz,
    last_step bigint NOT NULL DEFAULT 0,
    wrong bigint NOT NULL DEFAULT 0,
    wrong_since timestamptz
);

CREATE TABLE recovery_code (
    person_id text NOT NULL REFERENCES person (id),
    code_digest bytea NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (person_id, code_digest)
);

-- Browsers in which a person signed in before; another one is told to them.
CREATE TABLE known_device (
    person_id text NOT NULL REFERENCES person (id),
    token_digest bytea NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (person_id, token_digest)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON authenticator, recovery_code, known_device TO broker_app;

ALTER TABLE web_session
    DROP CONSTRAINT web_session_via_check,
    ADD CONSTRAINT web_session_via_check CHECK (via IN ('password', 'passkey', 'code'));
