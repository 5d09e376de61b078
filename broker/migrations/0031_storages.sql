-- Tenants' objects in buckets, and sessions on them as a kind of access of its own.

CREATE TABLE storage (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    name text NOT NULL,
    bucket text NOT NULL,
    prefix text NOT NULL CHECK (prefix LIKE '%/'),
    registered_at timestamptz NOT NULL,
    removed_at timestamptz
);
CREATE UNIQUE INDEX storage_place ON storage (bucket, prefix) WHERE removed_at IS NULL;
CREATE INDEX storage_of_tenant ON storage (tenant_id);
GRANT SELECT, INSERT ON storage TO broker_app;
GRANT UPDATE (removed_at) ON storage TO broker_app;

ALTER TABLE access_grant
    ADD COLUMN storage_id text REFERENCES storage (id),
    ADD COLUMN asked_storage_s bigint NOT NULL DEFAULT 0,
    ADD COLUMN given_storage_s bigint NOT NULL DEFAULT 0,
    ADD COLUMN storage_until timestamptz,
    ADD CONSTRAINT storage_narrowed CHECK (given_storage_s BETWEEN 0 AND asked_storage_s),
    ADD CONSTRAINT storage_named CHECK ((storage_id IS NULL) = (asked_storage_s = 0)),
    -- Break-glass is masked live access and nothing else (beside break_glass_is_narrow).
    ADD CONSTRAINT break_glass_without_storage
        CHECK (NOT break_glass OR (storage_id IS NULL AND asked_storage_s = 0));
ALTER TABLE decision ADD COLUMN storage_s bigint NOT NULL DEFAULT 0;

CREATE FUNCTION check_storage_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.storage_id IS DISTINCT FROM OLD.storage_id
            OR OLD.ends_at IS NOT NULL AND NEW.storage_until IS DISTINCT FROM OLD.storage_until
    THEN
        RAISE EXCEPTION 'the storage of % was named when it was asked, its end at approval', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER storage_fixed BEFORE UPDATE OF storage_id, storage_until
    ON access_grant FOR EACH ROW EXECUTE FUNCTION check_storage_fixed();

ALTER TABLE lease DROP CONSTRAINT lease_place;
ALTER TABLE lease
    ADD COLUMN storage_id text REFERENCES storage (id),
    ADD CONSTRAINT lease_place
        CHECK (num_nonnulls(database_id, server_id, platform_id, storage_id) = 1);
