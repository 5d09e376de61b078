-- Who else may get anything of a customer's, what each got, and what authorities ordered.

CREATE TABLE recipient (
    id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('sub_processor', 'third_party')),
    name text NOT NULL,
    country text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    use text NOT NULL,
    data text NOT NULL,
    safeguard text NOT NULL DEFAULT '',
    added_by text NOT NULL REFERENCES person (id),
    added_at timestamptz NOT NULL,
    starts_at timestamptz NOT NULL CHECK (starts_at >= added_at),
    ended_at timestamptz
);
CREATE UNIQUE INDEX recipient_named ON recipient (lower(name)) WHERE ended_at IS NULL;

CREATE TABLE authority_order (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    authority text NOT NULL,
    reference text NOT NULL,
    legal_ground text NOT NULL,
    asked text NOT NULL,
    recorded_by text NOT NULL REFERENCES person (id),
    recorded_at timestamptz NOT NULL,
    decided_by text REFERENCES person (id) CHECK (decided_by <> recorded_by), -- by two, or not at all
    confirmed_at timestamptz,
    contested_at timestamptz,
    contested_why text,
    silent_until timestamptz CHECK (silent_until <= recorded_at + interval '366 days'),
    silent_why text,
    told_at timestamptz,
    CHECK (num_nonnulls(confirmed_at, contested_at) = num_nonnulls(decided_by)),
    CHECK ((contested_at IS NULL) = (contested_why IS NULL)),
    CHECK ((silent_until IS NULL) = (silent_why IS NULL)),
    CHECK (told_at IS NULL OR decided_by IS NOT NULL)
);
CREATE INDEX authority_order_of_tenant ON authority_order (tenant_id);
CREATE INDEX authority_order_untold ON authority_order (silent_until)
    WHERE told_at IS NULL AND decided_by IS NOT NULL;

-- A decision is taken once, and who was told stays told.
CREATE FUNCTION check_authority_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.decided_by IS NOT NULL
                AND (NEW.decided_by, NEW.confirmed_at, NEW.contested_at)
                    IS DISTINCT FROM (OLD.decided_by, OLD.confirmed_at, OLD.contested_at)
            OR OLD.told_at IS NOT NULL AND NEW.told_at IS DISTINCT FROM OLD.told_at THEN
        RAISE EXCEPTION '% was decided, or told, already', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER authority_order_goes_on BEFORE UPDATE ON authority_order
    FOR EACH ROW EXECUTE FUNCTION check_authority_order();

CREATE TABLE handover (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    recipient_id text REFERENCES recipient (id),
    consent_id text REFERENCES consent_act (id),
    order_id text REFERENCES authority_order (id),
    what text NOT NULL CHECK (what IN ('certificate', 'log')),
    subject text NOT NULL,
    reason text NOT NULL,
    digest text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    bytes bigint NOT NULL,
    by_id text NOT NULL REFERENCES person (id),
    at timestamptz NOT NULL,
    CHECK ((recipient_id IS NULL) = (consent_id IS NULL)), -- to a recipient by consent, alone
    CHECK ((recipient_id IS NULL) <> (order_id IS NULL))
);
CREATE INDEX handover_of_tenant ON handover (tenant_id, at);
CREATE INDEX handover_of_order ON handover (order_id) WHERE order_id IS NOT NULL;
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON handover
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON recipient, authority_order, handover TO broker_app;
GRANT UPDATE (ended_at) ON recipient TO broker_app;
GRANT UPDATE (decided_by, confirmed_at, contested_at, contested_why, told_at)
    ON authority_order TO broker_app;
