-- Regular backups: each declared, consented to by itself, run with a login of its own, and reported.

CREATE TABLE backup_plan (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    database_id text NOT NULL REFERENCES tenant_database (id),
    kind text NOT NULL CHECK (kind IN ('dump', 'base')),
    runner_id text NOT NULL REFERENCES person (id),
    host text NOT NULL,
    every_s bigint NOT NULL CHECK (every_s BETWEEN 900 AND 31 * 86400),
    opens bigint NOT NULL CHECK (opens BETWEEN 0 AND 1439),
    closes bigint NOT NULL CHECK (closes BETWEEN 0 AND 1439),
    longest_s bigint NOT NULL CHECK (longest_s BETWEEN 60 AND 86400),
    connections bigint NOT NULL CHECK (connections BETWEEN 1 AND 64),
    place text NOT NULL,
    keep_days bigint NOT NULL CHECK (keep_days BETWEEN 1 AND 3660),
    declared_by text NOT NULL REFERENCES person (id),
    declared_at timestamptz NOT NULL,
    ended_by text REFERENCES person (id),
    ended_at timestamptz
);
CREATE TRIGGER not_removed BEFORE INSERT ON backup_plan
    FOR EACH ROW EXECUTE FUNCTION check_not_removed();
CREATE INDEX backup_plan_of_tenant ON backup_plan (tenant_id, declared_at);

CREATE TABLE backup_run (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    state text NOT NULL CHECK (state IN ('pending', 'issued', 'revoking', 'revoked')),
    state_at timestamptz NOT NULL,
    state_by text REFERENCES person (id),
    backup_id text NOT NULL REFERENCES backup_plan (id),
    runner_id text NOT NULL REFERENCES person (id),
    role_name text NOT NULL UNIQUE,
    verifier text,
    asked_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL CHECK (ends_at > asked_at),
    issued_at timestamptz,
    end_reason text,
    login_refused_at timestamptz,
    last_session_dead_at timestamptz,
    role_gone_at timestamptz,
    reported_at timestamptz,
    outcome text CHECK (outcome IN ('done', 'failed')),
    bytes bigint CHECK (bytes >= 0),
    digest text CHECK (digest ~ '^[0-9a-f]{64}$'),
    place text,
    expires_at timestamptz,
    gone_at timestamptz,
    unusual text[] NOT NULL DEFAULT '{}',
    attempts bigint NOT NULL DEFAULT 0,
    next_try_at timestamptz,
    stuck_since timestamptz,
    stuck_reason text,
    CHECK (state <> 'revoked' OR role_gone_at IS NOT NULL),
    CHECK (state <> 'revoked' OR verifier IS NULL),
    CHECK ((outcome IS NULL) = (reported_at IS NULL)),
    CHECK (outcome IS DISTINCT FROM 'done' OR num_nonnulls(bytes, digest, place, expires_at) = 4),
    CHECK (gone_at IS NULL OR outcome = 'done')
);
CREATE UNIQUE INDEX backup_run_one_at_a_time ON backup_run (backup_id) WHERE state <> 'revoked';
CREATE INDEX backup_run_of_backup ON backup_run (backup_id, asked_at);
CREATE INDEX backup_run_due ON backup_run (next_try_at) WHERE state <> 'revoked';
CREATE INDEX backup_run_over ON backup_run (ends_at) WHERE state IN ('pending', 'issued');
CREATE INDEX backup_run_unreported ON backup_run (state_at) WHERE reported_at IS NULL;
CREATE INDEX backup_run_to_die ON backup_run (expires_at) WHERE gone_at IS NULL;
CREATE CONSTRAINT TRIGGER state_has_entry AFTER INSERT OR UPDATE OF state ON backup_run
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_state_has_entry();

-- What was reported is never rewritten.
CREATE FUNCTION check_backup_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.reported_at IS NOT NULL
                AND (NEW.reported_at, NEW.outcome, NEW.bytes, NEW.digest, NEW.place, NEW.expires_at)
                    IS DISTINCT FROM
                    (OLD.reported_at, OLD.outcome, OLD.bytes, OLD.digest, OLD.place, OLD.expires_at)
            OR OLD.gone_at IS NOT NULL AND NEW.gone_at IS DISTINCT FROM OLD.gone_at THEN
        RAISE EXCEPTION '% was reported already', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER backup_run_goes_on BEFORE UPDATE ON backup_run
    FOR EACH ROW EXECUTE FUNCTION check_backup_run();

CREATE TABLE backup_restore (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    state text NOT NULL CHECK (state IN ('asked', 'allowed', 'used', 'ended')),
    state_at timestamptz NOT NULL,
    state_by text REFERENCES person (id),
    run_id text NOT NULL REFERENCES backup_run (id),
    ticket_id text NOT NULL REFERENCES ticket (id),
    asked_by text NOT NULL REFERENCES person (id),
    reason text NOT NULL,
    target text NOT NULL,
    hours bigint NOT NULL CHECK (hours BETWEEN 1 AND 72),
    asked_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL
);
CREATE INDEX backup_restore_of_run ON backup_restore (run_id);
CREATE INDEX backup_restore_over ON backup_restore (ends_at) WHERE state IN ('asked', 'allowed');
CREATE CONSTRAINT TRIGGER state_has_entry AFTER INSERT OR UPDATE OF state ON backup_restore
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_state_has_entry();

GRANT SELECT, INSERT ON backup_plan TO broker_app;
GRANT UPDATE (ended_at, ended_by) ON backup_plan TO broker_app;
GRANT SELECT, INSERT, UPDATE ON backup_run, backup_restore TO broker_app;
