-- Delegates: who decides for an admin who is away, until when; and for whom a decision was given.

CREATE TABLE delegation (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    side text NOT NULL DEFAULT 'tenant' CHECK (side = 'tenant'),
    giver_id text NOT NULL,
    delegate_id text NOT NULL CHECK (delegate_id <> giver_id),
    named_at timestamptz NOT NULL,
    starts_at timestamptz NOT NULL CHECK (starts_at >= named_at),
    ends_at timestamptz NOT NULL CHECK (ends_at > starts_at),
    ended_at timestamptz,
    ended_by text REFERENCES person (id),
    FOREIGN KEY (giver_id, side) REFERENCES person (id, side),
    FOREIGN KEY (delegate_id, side) REFERENCES person (id, side),
    CHECK (ends_at <= named_at + interval '92 days'),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE INDEX delegation_of_tenant ON delegation (tenant_id, named_at);
CREATE INDEX delegation_to ON delegation (delegate_id) WHERE ended_at IS NULL;
GRANT SELECT, INSERT ON delegation TO broker_app;
GRANT UPDATE (ended_at, ended_by) ON delegation TO broker_app;

ALTER TABLE decision
    ADD COLUMN for_id text REFERENCES person (id),
    ADD COLUMN for_until timestamptz,
    ADD COLUMN delegation_id text REFERENCES delegation (id),
    ADD CHECK (for_id <> person_id),
    ADD CHECK ((for_id IS NULL) = (delegation_id IS NULL)),
    ADD CHECK ((for_id IS NULL) = (for_until IS NULL));

-- The second barrier: whatever the code does, a decision for another rests on a delegation that
-- stood at that instant, of that admin to that person, in the tenant of the grant.
CREATE FUNCTION check_delegated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM delegation d JOIN access_grant g ON g.tenant_id = d.tenant_id
        WHERE d.id = NEW.delegation_id AND g.id = NEW.grant_id
            AND d.giver_id = NEW.for_id AND d.delegate_id = NEW.person_id
            AND d.ends_at = NEW.for_until AND d.ended_at IS NULL
            AND NEW.at >= d.starts_at AND NEW.at < d.ends_at
    ) THEN
        RAISE EXCEPTION '% names no delegation that stands', NEW.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decision_delegated BEFORE INSERT ON decision
    FOR EACH ROW WHEN (NEW.delegation_id IS NOT NULL) EXECUTE FUNCTION check_delegated();
