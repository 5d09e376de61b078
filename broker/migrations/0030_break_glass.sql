-- Break-glass: two people of the vendor open, where the customer's policy allows it; a review is owed.

ALTER TABLE access_grant
    ADD COLUMN break_glass boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT break_glass_is_narrow CHECK (NOT break_glass OR (
        approvals_needed = 2 AND asked_live_s BETWEEN 1 AND 14400 AND asked_copy_s = 0
        AND given_copy_s = 0 AND asked_platform_s = 0 AND platform_id IS NULL
        AND extends IS NULL AND starts_at IS NULL AND given_starts_at IS NULL
        AND standing_id IS NULL AND asked_kind <> 'raw'
    ));
-- Once on a ticket: one that waits, or that was given, whatever became of it.
CREATE UNIQUE INDEX break_glass_once ON access_grant (ticket_id)
    WHERE break_glass AND (state = 'requested' OR given_digest IS NOT NULL);

CREATE FUNCTION check_break_glass_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'whether % is break-glass was frozen when it was asked', OLD.id;
END $$;
CREATE TRIGGER break_glass_frozen BEFORE UPDATE OF break_glass ON access_grant
    FOR EACH ROW WHEN (NEW.break_glass <> OLD.break_glass)
    EXECUTE FUNCTION check_break_glass_frozen();

-- Who gives: people of the customer; of the vendor for break-glass alone, and never who asked.
ALTER TABLE decision
    DROP CONSTRAINT decision_of_customer,
    ADD CONSTRAINT decision_of_customer CHECK (verdict <> 'refused' OR side = 'tenant');
CREATE FUNCTION check_decision_side() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM access_grant JOIN person ON person.id = NEW.person_id
        WHERE access_grant.id = NEW.grant_id AND person.id <> requester_id
            AND person.side = NEW.side
            AND NEW.side = CASE WHEN break_glass THEN 'vendor' ELSE 'tenant' END
    ) THEN
        RAISE EXCEPTION '% may not approve %', NEW.person_id, NEW.grant_id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decided_by_its_side BEFORE INSERT ON decision
    FOR EACH ROW WHEN (NEW.verdict = 'approved') EXECUTE FUNCTION check_decision_side();

CREATE TABLE review (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    state text NOT NULL CHECK (state IN ('open', 'closed')),
    state_at timestamptz NOT NULL,
    state_by text REFERENCES person (id),
    grant_id text NOT NULL UNIQUE REFERENCES access_grant (id),
    owed_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL CHECK (due_at = owed_at + interval '72 hours'),
    note text,
    CHECK ((state = 'closed') = (note IS NOT NULL))
);
CREATE INDEX review_open ON review (tenant_id, due_at) WHERE state = 'open';
CREATE CONSTRAINT TRIGGER state_has_entry AFTER INSERT OR UPDATE OF state ON review
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_state_has_entry();
GRANT SELECT, INSERT ON review TO broker_app;
GRANT UPDATE (state, state_at, state_by, note) ON review TO broker_app;

-- The second barriers: none is given without its review, nor without a policy that allows it; a
-- review is closed by a person of its tenant, once.
CREATE FUNCTION check_break_glass_owed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM review JOIN approval_policy USING (tenant_id)
        WHERE grant_id = NEW.id AND tenant_id = NEW.tenant_id AND version = NEW.policy_version
            AND in_force_at IS NOT NULL AND (document ->> 'break_glass')::boolean
    ) THEN
        RAISE EXCEPTION '% is break-glass without a policy that allows it, or a review', NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER break_glass_owed AFTER INSERT OR UPDATE OF state ON access_grant
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.state = 'approved' AND NEW.break_glass)
    EXECUTE FUNCTION check_break_glass_owed();

CREATE FUNCTION check_review_closing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'closed' OR NOT EXISTS (
        SELECT FROM membership WHERE person_id = NEW.state_by AND tenant_id = NEW.tenant_id
    ) THEN
        RAISE EXCEPTION 'only the customer closes %, once', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER review_closed BEFORE UPDATE ON review
    FOR EACH ROW EXECUTE FUNCTION check_review_closing();
