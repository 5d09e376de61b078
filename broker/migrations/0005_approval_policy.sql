-- How many of a tenant's admins must approve, and who: the tenant's own policy, by version.

CREATE TABLE approval_policy (
    tenant_id text NOT NULL REFERENCES tenant (id),
    version bigint NOT NULL CHECK (version >= 1),
    document jsonb NOT NULL CHECK ((document ->> 'approvals')::int BETWEEN 1 AND 3),
    proposed_by text NOT NULL REFERENCES person (id),
    proposed_at timestamptz NOT NULL,
    confirmed_by text REFERENCES person (id),
    in_force_at timestamptz,
    PRIMARY KEY (tenant_id, version),
    CHECK (confirmed_by <> proposed_by),
    CHECK (confirmed_by IS NULL OR in_force_at IS NOT NULL)
);
GRANT SELECT, INSERT ON approval_policy TO broker_app;
GRANT UPDATE (confirmed_by, in_force_at) ON approval_policy TO broker_app;

-- Frozen into a request when it is made; version 0 is the broker's own: one admin.
ALTER TABLE access_grant
    ADD COLUMN policy_version bigint NOT NULL DEFAULT 0,
    ADD COLUMN approvals_needed bigint NOT NULL DEFAULT 1 CHECK (approvals_needed BETWEEN 1 AND 3);

CREATE FUNCTION check_policy_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.policy_version <> OLD.policy_version OR NEW.approvals_needed <> OLD.approvals_needed THEN
        RAISE EXCEPTION 'the policy of % was frozen when it was asked', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER policy_frozen BEFORE UPDATE OF policy_version, approvals_needed ON access_grant
    FOR EACH ROW EXECUTE FUNCTION check_policy_frozen();

-- The second barrier of counting: `requests.approve` is the first.
CREATE FUNCTION check_approvals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(DISTINCT person_id) FROM decision WHERE grant_id = NEW.id
            AND verdict = 'approved' AND person_id <> NEW.requester_id) < NEW.approvals_needed THEN
        RAISE EXCEPTION '% has fewer approvals than it needs', NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER approvals_counted AFTER INSERT OR UPDATE OF state ON access_grant
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.state = 'approved')
    EXECUTE FUNCTION check_approvals();
