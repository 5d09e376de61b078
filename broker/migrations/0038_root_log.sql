-- The root log: which slot each log has in it, its epochs, and the size of each log in them.

ALTER TABLE audit_log
    ADD COLUMN root boolean NOT NULL DEFAULT false,
    ADD COLUMN slot bigint UNIQUE CHECK (slot >= 0),
    ADD COLUMN blind bytea CHECK (octet_length(blind) = 32),
    DROP CONSTRAINT audit_log_tenant_id_key,
    ADD CONSTRAINT audit_log_of UNIQUE NULLS NOT DISTINCT (tenant_id, root),
    ADD CONSTRAINT root_log_is_nobodys CHECK (NOT root OR tenant_id IS NULL);

CREATE TABLE root_epoch (
    number bigint PRIMARY KEY CHECK (number >= 0),
    at timestamptz NOT NULL
);
CREATE TABLE root_place (
    log_id text NOT NULL REFERENCES audit_log (id),
    epoch bigint NOT NULL REFERENCES root_epoch (number),
    size bigint NOT NULL CHECK (size > 0),
    PRIMARY KEY (log_id, epoch)
);
GRANT SELECT, INSERT ON root_epoch, root_place TO broker_app;

CREATE FUNCTION check_slot_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.slot IS NOT NULL AND (NEW.slot, NEW.blind) IS DISTINCT FROM (OLD.slot, OLD.blind) THEN
        RAISE EXCEPTION 'the slot of % in the root log is given once', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER slot_fixed BEFORE UPDATE OF slot, blind
    ON audit_log FOR EACH ROW EXECUTE FUNCTION check_slot_fixed();
