-- Platforms that trust the broker's tokens, and access to them as a kind of its own.

CREATE TABLE platform (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    name text NOT NULL,
    audience text NOT NULL,
    secret_digest bytea NOT NULL,
    registered_at timestamptz NOT NULL,
    removed_at timestamptz
);
CREATE UNIQUE INDEX platform_audience ON platform (audience) WHERE removed_at IS NULL;
CREATE INDEX platform_of_tenant ON platform (tenant_id);
GRANT SELECT, INSERT, UPDATE ON platform TO broker_app;

CREATE TABLE token_key (
    kid text PRIMARY KEY,
    public bytea NOT NULL,
    made_at timestamptz NOT NULL,
    withdrawn_at timestamptz,
    erased_at timestamptz
);
GRANT SELECT, INSERT ON token_key TO broker_app;
GRANT UPDATE (withdrawn_at, erased_at) ON token_key TO broker_app;

ALTER TABLE access_grant
    ADD COLUMN platform_id text REFERENCES platform (id),
    ADD COLUMN asked_platform_s bigint NOT NULL DEFAULT 0,
    ADD COLUMN given_platform_s bigint NOT NULL DEFAULT 0,
    ADD COLUMN platform_until timestamptz,
    ADD CONSTRAINT platform_narrowed CHECK (given_platform_s BETWEEN 0 AND asked_platform_s),
    ADD CONSTRAINT platform_named CHECK ((platform_id IS NULL) = (asked_platform_s = 0));
ALTER TABLE decision ADD COLUMN platform_s bigint NOT NULL DEFAULT 0;

CREATE FUNCTION check_platform_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.platform_id IS DISTINCT FROM OLD.platform_id
            OR OLD.ends_at IS NOT NULL AND NEW.platform_until IS DISTINCT FROM OLD.platform_until
    THEN
        RAISE EXCEPTION 'the platform of % was named when it was asked, its end at approval', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER platform_fixed BEFORE UPDATE OF platform_id, platform_until
    ON access_grant FOR EACH ROW EXECUTE FUNCTION check_platform_fixed();

-- A lease is a login, or a token: `sealed` opens only with the key of who waits for it.
ALTER TABLE lease DROP CONSTRAINT lease_check;
ALTER TABLE lease
    ADD COLUMN platform_id text REFERENCES platform (id),
    ADD COLUMN sealed_to bytea,
    ADD COLUMN sealed bytea,
    ADD COLUMN token_digest bytea UNIQUE,
    ADD CONSTRAINT lease_place CHECK (num_nonnulls(database_id, server_id, platform_id) = 1);
