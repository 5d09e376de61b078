-- The agreed start: as it was asked, or later. What each approver gives has its own.

ALTER TABLE access_grant
    ADD COLUMN given_starts_at timestamptz
        CHECK (given_starts_at >= starts_at)
        CHECK (given_starts_at <= requested_at + interval '7 days');
ALTER TABLE decision ADD COLUMN starts_at timestamptz;
UPDATE access_grant SET given_starts_at = starts_at WHERE ends_at IS NOT NULL;

CREATE OR REPLACE FUNCTION check_ends_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.ends_at IS NOT NULL
            AND (NEW.live_until, NEW.copy_until, NEW.ends_at, NEW.starts_at, NEW.given_starts_at)
            IS DISTINCT FROM
            (OLD.live_until, OLD.copy_until, OLD.ends_at, OLD.starts_at, OLD.given_starts_at) THEN
        RAISE EXCEPTION 'the end of % was set by its approval', OLD.id;
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER ends_fixed ON access_grant;
CREATE TRIGGER ends_fixed
    BEFORE UPDATE OF live_until, copy_until, ends_at, starts_at, given_starts_at
    ON access_grant FOR EACH ROW EXECUTE FUNCTION check_ends_fixed();
