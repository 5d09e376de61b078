-- The beats that the keyring's mark is compared with, and what a difference began.

CREATE TABLE tide (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    serial bigint NOT NULL
);
INSERT INTO tide (serial) VALUES (0);

CREATE TABLE quarantine (
    id text PRIMARY KEY,
    began_at timestamptz NOT NULL,
    why text[] NOT NULL,
    last_seen_at timestamptz,
    lifted_at timestamptz,
    lifted_by text REFERENCES person (id),
    grants text CHECK (grants IN ('keep', 'end')),
    CHECK ((lifted_at IS NULL) = (lifted_by IS NULL) AND (lifted_at IS NULL) = (grants IS NULL))
);
CREATE UNIQUE INDEX quarantine_open ON quarantine ((true)) WHERE lifted_at IS NULL;

GRANT SELECT, UPDATE (serial) ON tide TO broker_app;
GRANT SELECT, INSERT, UPDATE (lifted_at, lifted_by, grants) ON quarantine TO broker_app;
