-- Tokens that may do less than their person, and accounts of programs.

-- NULL: all that the person may; an empty list of scopes: reading alone.
ALTER TABLE api_token
    ADD COLUMN scopes text[],
    ADD COLUMN tenants text[] CHECK (cardinality(tenants) > 0);

-- A program's account: no address, so no sign-in, no invitation and no mail.
ALTER TABLE person
    ADD COLUMN service boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT service_never_signs_in
        CHECK (NOT service OR (email = '' AND password_hash IS NULL));
-- It reads, or asks; it never decides.
CREATE FUNCTION check_role_of_service() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.role NOT IN ('auditor', 'engineer')
            AND EXISTS (SELECT FROM person WHERE id = NEW.person_id AND service) THEN
        RAISE EXCEPTION '% is the account of a program and can''t be %', NEW.person_id, NEW.role;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER role_of_service BEFORE INSERT OR UPDATE OF role ON membership
    FOR EACH ROW EXECUTE FUNCTION check_role_of_service();
