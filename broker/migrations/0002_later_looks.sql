-- Looks after a destruction, what they find, and certificates that were proved wrong.

CREATE TABLE remnant (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    state text NOT NULL CHECK (state IN ('condemned', 'destroyed')),
    state_at timestamptz NOT NULL,
    state_by text REFERENCES person (id),
    snapshot_id text NOT NULL REFERENCES snapshot (id),
    certificate_id text REFERENCES certificate (id),
    kinds text[] NOT NULL,
    found_at timestamptz NOT NULL,
    destroyed_at timestamptz,
    attempts bigint NOT NULL DEFAULT 0,
    next_try_at timestamptz,
    stuck_since timestamptz,
    stuck_reason text
);
-- One at a time: what is found meanwhile is a part of it.
CREATE UNIQUE INDEX remnant_open ON remnant (snapshot_id) WHERE state = 'condemned';
CREATE INDEX remnant_of_snapshot ON remnant (snapshot_id);
CREATE INDEX remnant_due ON remnant (next_try_at) WHERE next_try_at IS NOT NULL;

CREATE FUNCTION check_remnant_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'destroyed' AND NEW.state <> 'destroyed' THEN
        RAISE EXCEPTION 'remnant % is %; it can''t become %', OLD.id, OLD.state, NEW.state;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER remnant_one_way BEFORE UPDATE OF state ON remnant
    FOR EACH ROW EXECUTE FUNCTION check_remnant_state();
CREATE CONSTRAINT TRIGGER state_has_entry AFTER INSERT OR UPDATE OF state ON remnant
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_state_has_entry();

ALTER TABLE look ADD COLUMN remnant_id text REFERENCES remnant (id);

ALTER TABLE certificate ADD COLUMN remnant_id text REFERENCES remnant (id);
ALTER TABLE certificate DROP CONSTRAINT certificate_snapshot_id_key;
ALTER TABLE certificate
    ADD CONSTRAINT certificate_of UNIQUE NULLS NOT DISTINCT (snapshot_id, remnant_id);

CREATE TABLE revocation (
    certificate_id text PRIMARY KEY REFERENCES certificate (id),
    tenant_id text NOT NULL REFERENCES tenant (id),
    remnant_id text NOT NULL REFERENCES remnant (id),
    envelope bytea NOT NULL,
    revoked_at timestamptz NOT NULL
);

CREATE TABLE later_look (
    of_id text NOT NULL,
    after_s bigint NOT NULL,
    snapshot_id text NOT NULL REFERENCES snapshot (id),
    due_at timestamptz NOT NULL,
    passed_at timestamptz,
    attempts bigint NOT NULL DEFAULT 0,
    next_try_at timestamptz,
    stuck_since timestamptz,
    stuck_reason text,
    PRIMARY KEY (of_id, after_s)
);
CREATE INDEX later_look_due ON later_look (next_try_at) WHERE passed_at IS NULL;
CREATE INDEX later_look_of_snapshot ON later_look (snapshot_id) WHERE passed_at IS NULL;

CREATE INDEX find_of_remnant ON find (found_at) WHERE noun = 'remnant';

-- What was destroyed before looks were repeated is looked at too; and a destroyed copy is due
-- until it has its certificate.
INSERT INTO later_look (of_id, after_s, snapshot_id, due_at, next_try_at)
SELECT id, after_s, id, due_at, due_at
FROM snapshot, unnest(ARRAY[3600, 86400, 604800, 2592000]) AS after_s,
    LATERAL (SELECT destroyed_at + make_interval(secs => after_s) AS due_at) AS due
WHERE state = 'destroyed';
UPDATE snapshot SET next_try_at = state_at
WHERE state = 'destroyed' AND id NOT IN (SELECT snapshot_id FROM certificate);

GRANT SELECT, INSERT, UPDATE ON remnant, later_look TO broker_app;
GRANT SELECT, INSERT ON revocation TO broker_app;
