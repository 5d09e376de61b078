-- Standing approvals: given in advance by a tenant's admins, for requests that fit.

CREATE TABLE standing_approval (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    state text NOT NULL CHECK (state IN ('proposed', 'given', 'ended')),
    state_at timestamptz NOT NULL,
    state_by text REFERENCES person (id),
    database_id text NOT NULL REFERENCES tenant_database (id),
    like_grant text NOT NULL, -- whose plan was shown; no foreign key, for a grant names it too
    conditions jsonb NOT NULL,
    plan jsonb NOT NULL,
    digest text NOT NULL,
    note text,
    policy_version bigint NOT NULL,
    approvals_needed bigint NOT NULL CHECK (approvals_needed BETWEEN 1 AND 3),
    proposed_at timestamptz NOT NULL,
    lapses_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL CHECK (ends_at > proposed_at),
    keeps_grants boolean NOT NULL DEFAULT false
);
CREATE INDEX standing_open ON standing_approval (tenant_id, database_id) WHERE state <> 'ended';
CREATE CONSTRAINT TRIGGER state_has_entry AFTER INSERT OR UPDATE OF state ON standing_approval
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_state_has_entry();

CREATE TABLE standing_voice (
    standing_id text NOT NULL REFERENCES standing_approval (id),
    person_id text NOT NULL REFERENCES person (id),
    via text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (standing_id, person_id)
);
GRANT SELECT, INSERT ON standing_approval, standing_voice TO broker_app;
-- What was agreed to is never changed.
GRANT UPDATE (state, state_at, state_by, keeps_grants) ON standing_approval TO broker_app;

ALTER TABLE access_grant ADD COLUMN standing_id text REFERENCES standing_approval (id);
ALTER TABLE decision
    ADD COLUMN standing_id text REFERENCES standing_approval (id),
    ADD COLUMN terms_digest text,
    ADD CHECK ((standing_id IS NULL) = (terms_digest IS NULL));
CREATE INDEX access_grant_under_standing ON access_grant (standing_id)
    WHERE standing_id IS NOT NULL;

-- The second barriers. As many agreed as it needs; and what is approved under it is within it, by
-- those who agreed: `standing_rules` is the first.
CREATE FUNCTION check_standing_voices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM standing_voice WHERE standing_id = NEW.id) < NEW.approvals_needed THEN
        RAISE EXCEPTION '% has fewer voices than it needs', NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER voices_counted AFTER INSERT OR UPDATE OF state ON standing_approval
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.state = 'given')
    EXECUTE FUNCTION check_standing_voices();

CREATE FUNCTION check_standing_use() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM standing_approval
        WHERE id = NEW.standing_id AND state = 'given' AND tenant_id = NEW.tenant_id
            AND database_id = NEW.database_id AND ends_at >= NEW.ends_at
    ) THEN
        RAISE EXCEPTION '% is not within %', NEW.id, NEW.standing_id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER standing_used BEFORE INSERT OR UPDATE OF state, standing_id ON access_grant
    FOR EACH ROW WHEN (NEW.state = 'approved' AND NEW.standing_id IS NOT NULL)
    EXECUTE FUNCTION check_standing_use();

CREATE FUNCTION check_decision_in_advance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.verdict <> 'approved' OR NEW.side <> 'tenant' OR NOT EXISTS (
        SELECT FROM standing_voice
        WHERE standing_id = NEW.standing_id AND person_id = NEW.person_id
    ) THEN
        RAISE EXCEPTION '% did not agree to %', NEW.person_id, NEW.standing_id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decided_in_advance BEFORE INSERT ON decision
    FOR EACH ROW WHEN (NEW.standing_id IS NOT NULL) EXECUTE FUNCTION check_decision_in_advance();
