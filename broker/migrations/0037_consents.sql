-- Purposes, each version of their texts, and the ledger of consents: neither is ever changed.

CREATE TABLE purpose (
    name text NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    counts_from bigint NOT NULL CHECK (counts_from BETWEEN 1 AND version),
    document jsonb NOT NULL,
    loaded_at timestamptz NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE consent_act (
    id text PRIMARY KEY,
    number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    tenant_id text NOT NULL REFERENCES tenant (id),
    person_id text REFERENCES person (id), -- null: for the organisation
    purpose text NOT NULL,
    about text NOT NULL DEFAULT '',
    act text NOT NULL CHECK (act IN ('given', 'renewed', 'withdrawn', 'lapsed')),
    version bigint NOT NULL,
    language text CHECK (language IN ('en', 'fr')),
    shown text, -- SHA-256 of what was shown
    lapses_at timestamptz,
    by_id text REFERENCES person (id), -- null: by the broker, when its time was over
    side text NOT NULL,
    via text NOT NULL,
    at timestamptz NOT NULL,
    FOREIGN KEY (purpose, version) REFERENCES purpose (name, version),
    CHECK (act NOT IN ('given', 'renewed')
        OR num_nulls(language, shown, lapses_at, by_id) = 0 AND lapses_at > at),
    CHECK ((act = 'lapsed') = (by_id IS NULL)),
    CHECK (person_id IS NULL OR by_id IS NULL OR by_id = person_id) -- nobody speaks for another
);
CREATE INDEX consent_act_last ON consent_act
    (tenant_id, purpose, coalesce(person_id, ''), about, number DESC);
CREATE INDEX consent_act_lapsing ON consent_act (lapses_at) WHERE lapses_at IS NOT NULL;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is only ever added to', TG_TABLE_NAME;
END $$;
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON purpose
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON purpose
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON consent_act
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON consent_act
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- The second barrier of G9, as for states.
CREATE CONSTRAINT TRIGGER act_has_entry AFTER INSERT ON consent_act
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_state_has_entry();

-- Acts of the log that the nightly check could not explain.
CREATE TABLE unexplained_act (
    log_id text NOT NULL REFERENCES audit_log (id),
    idx bigint NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    found_at timestamptz NOT NULL,
    PRIMARY KEY (log_id, idx)
);
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON unexplained_act
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
GRANT SELECT, INSERT ON purpose, consent_act, unexplained_act TO broker_app;

CREATE INDEX access_grant_open_of_tenant ON access_grant (tenant_id)
    WHERE state IN ('requested', 'approved');
