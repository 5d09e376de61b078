-- Legal holds: an authority's order, or a tenant's own decision, keeps a condemned copy's sealed form.

CREATE TABLE legal_hold (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    state text NOT NULL CHECK (state IN ('asked', 'in_force', 'refused', 'over')),
    state_at timestamptz NOT NULL,
    state_by text REFERENCES person (id),
    snapshot_id text NOT NULL REFERENCES snapshot (id),
    authority_order text,
    reason text NOT NULL,
    days bigint NOT NULL CHECK (days BETWEEN 1 AND 90),
    asked_by text NOT NULL REFERENCES person (id),
    asked_at timestamptz NOT NULL,
    decided_by text REFERENCES person (id),
    begun_at timestamptz,
    ends_at timestamptz,
    closed_at timestamptz,
    CHECK (state IN ('asked', 'refused') OR state = 'over' AND begun_at IS NULL
        OR ends_at <= begun_at + interval '90 days' AND ends_at IS NOT NULL),
    -- Nobody but the tenant, or an authority, keeps what is to be destroyed.
    CHECK (begun_at IS NULL OR authority_order IS NOT NULL OR decided_by IS NOT NULL)
);
CREATE UNIQUE INDEX legal_hold_asked ON legal_hold (snapshot_id) WHERE state = 'asked';
CREATE UNIQUE INDEX legal_hold_in_force ON legal_hold (snapshot_id) WHERE state = 'in_force';
CREATE INDEX legal_hold_due ON legal_hold (ends_at) WHERE state = 'in_force';
CREATE INDEX legal_hold_unanswered ON legal_hold (asked_at) WHERE state = 'asked';
CREATE INDEX legal_hold_of_snapshot ON legal_hold (snapshot_id);

CREATE FUNCTION check_hold_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.ends_at IS NOT NULL AND (NEW.ends_at, NEW.begun_at, NEW.authority_order)
            IS DISTINCT FROM (OLD.ends_at, OLD.begun_at, OLD.authority_order) THEN
        RAISE EXCEPTION 'the end of % is set; it is renewed by another', OLD.id;
    END IF;
    IF OLD.state IN ('refused', 'over') AND NEW.state <> OLD.state THEN
        RAISE EXCEPTION 'hold % is %; it can''t become %', OLD.id, OLD.state, NEW.state;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER hold_fixed BEFORE UPDATE ON legal_hold
    FOR EACH ROW EXECUTE FUNCTION check_hold_fixed();
CREATE CONSTRAINT TRIGGER state_has_entry AFTER INSERT OR UPDATE OF state ON legal_hold
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_state_has_entry();
GRANT SELECT, INSERT, UPDATE ON legal_hold TO broker_app;

-- The intent to erase its key: after it no hold begins any more, and none is there before it.
ALTER TABLE snapshot ADD COLUMN erasing_at timestamptz;
UPDATE snapshot SET erasing_at = coalesce(destroyed_at, now()) WHERE state = 'destroyed'
    OR id IN (SELECT snapshot_id FROM look WHERE kind = 'key erased');
