-- Drills of revocation: only where a tenant's admin allowed them.

ALTER TABLE tenant_database
    ADD COLUMN drills_since timestamptz,
    ADD COLUMN drill_every_s bigint CHECK (drill_every_s >= 3600);

CREATE TABLE drill (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    state text NOT NULL CHECK (state IN ('ordered', 'passed', 'failed')),
    state_at timestamptz NOT NULL,
    state_by text REFERENCES person (id),
    database_id text NOT NULL REFERENCES tenant_database (id),
    ordered_at timestamptz NOT NULL,
    role_name text NOT NULL UNIQUE,
    scope_name text NOT NULL,
    begun_at timestamptz,
    asked_at timestamptz,
    login_refused_at timestamptz,
    last_session_dead_at timestamptz,
    role_gone_at timestamptz,
    problem text,
    attempts bigint NOT NULL DEFAULT 0,
    next_try_at timestamptz,
    stuck_since timestamptz,
    stuck_reason text,
    CHECK (state <> 'passed' OR role_gone_at IS NOT NULL)
);
CREATE UNIQUE INDEX drill_one_at_a_time ON drill (database_id) WHERE state = 'ordered';
CREATE INDEX drill_of_database ON drill (database_id, ordered_at);
CREATE CONSTRAINT TRIGGER state_has_entry AFTER INSERT OR UPDATE OF state ON drill
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_state_has_entry();
GRANT SELECT, INSERT, UPDATE ON drill TO broker_app;
