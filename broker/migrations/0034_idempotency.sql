-- Idempotency keys: what a POST answered, so that a retry gets that answer and does nothing again.

-- Of one token: another, of the same person too, may be allowed less and must not read it.
CREATE TABLE idempotency_key (
    token_id text NOT NULL REFERENCES api_token (id) ON DELETE CASCADE,
    key_digest bytea NOT NULL CHECK (length(key_digest) = 32),
    request_digest bytea NOT NULL CHECK (length(request_digest) = 32),
    created_at timestamptz NOT NULL,
    status smallint,
    answer bytea,
    PRIMARY KEY (token_id, key_digest),
    CHECK (answer IS NULL OR status IS NOT NULL)
);
CREATE INDEX idempotency_key_age ON idempotency_key (created_at);
GRANT SELECT, INSERT, DELETE ON idempotency_key TO broker_app;
GRANT UPDATE (status, answer) ON idempotency_key TO broker_app;
