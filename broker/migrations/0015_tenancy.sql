-- Which part of a database is the tenant's: its schemas, or its rows by a key.

ALTER TABLE tenant_database
    ADD COLUMN tenancy jsonb NOT NULL DEFAULT '{"form": "database"}'
        CHECK (tenancy ->> 'form' IN ('database', 'schema', 'rows'));

-- The second barrier of "it never changes": what was approved rests on it.
CREATE FUNCTION check_part_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.tenancy, NEW.schemas, NEW.tenant_id, NEW.dbname)
            IS DISTINCT FROM (OLD.tenancy, OLD.schemas, OLD.tenant_id, OLD.dbname) THEN
        RAISE EXCEPTION 'which part of a database % is was set by its registration', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER part_fixed BEFORE UPDATE OF tenancy, schemas, tenant_id, dbname
    ON tenant_database FOR EACH ROW EXECUTE FUNCTION check_part_fixed();
