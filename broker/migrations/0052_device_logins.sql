-- Programs that wait until a person lets them in (RFC 8628); gone when that is over.
CREATE TABLE device_login (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_digest bytea NOT NULL UNIQUE,
    user_code text NOT NULL UNIQUE,
    address text NOT NULL,
    asked_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    interval_s bigint NOT NULL,
    polled_at timestamptz,
    person_id text REFERENCES person (id),
    decided_at timestamptz,
    CHECK (person_id IS NULL OR decided_at IS NOT NULL)
);
CREATE INDEX device_login_lapses ON device_login (expires_at);
CREATE INDEX device_login_of_address ON device_login (address);
GRANT SELECT, INSERT, UPDATE, DELETE ON device_login TO broker_app;
