-- A request that goes on where another grant ends, and one that starts at an agreed instant.

ALTER TABLE access_grant
    ADD COLUMN extends text REFERENCES access_grant (id),
    ADD COLUMN starts_at timestamptz CHECK (starts_at <= requested_at + interval '7 days');

-- The second barrier of "nothing moves it later": an end is set once, by the approval.
CREATE FUNCTION check_ends_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.ends_at IS NOT NULL AND (NEW.live_until, NEW.copy_until, NEW.ends_at, NEW.starts_at)
            IS DISTINCT FROM (OLD.live_until, OLD.copy_until, OLD.ends_at, OLD.starts_at) THEN
        RAISE EXCEPTION 'the end of % was set by its approval', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ends_fixed BEFORE UPDATE OF live_until, copy_until, ends_at, starts_at
    ON access_grant FOR EACH ROW EXECUTE FUNCTION check_ends_fixed();
