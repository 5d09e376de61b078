-- What has ended is settled once nothing open rests on it. A sweep reads what is not settled: neither
-- what lives nor what has long ended.

ALTER TABLE ticket ADD COLUMN settled_at timestamptz;
ALTER TABLE person ADD COLUMN settled_at timestamptz;
ALTER TABLE membership ADD COLUMN settled_at timestamptz;
ALTER TABLE access_grant ADD COLUMN settled_at timestamptz;
ALTER TABLE lease ADD COLUMN settled_at timestamptz;

UPDATE ticket SET settled_at = now() WHERE ended_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM access_grant WHERE ticket_id = ticket.id AND state IN ('requested', 'approved'));
UPDATE person SET settled_at = now() WHERE disabled_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM access_grant WHERE requester_id = person.id AND state IN ('requested', 'approved'));
UPDATE membership SET settled_at = now()
WHERE ended_at IS NOT NULL AND tenant_id IS NULL AND NOT EXISTS (
    SELECT FROM access_grant WHERE requester_id = membership.person_id
        AND state IN ('requested', 'approved'));
UPDATE access_grant SET settled_at = now() WHERE state IN ('refused', 'ended')
    AND NOT EXISTS (SELECT FROM lease WHERE grant_id = access_grant.id
        AND state IN ('pending', 'issued'))
    AND NOT EXISTS (SELECT FROM snapshot WHERE grant_id = access_grant.id
        AND state IN ('ordered', 'copying', 'ready'));
UPDATE lease SET settled_at = now() WHERE state = 'revoked' AND NOT EXISTS (
    SELECT FROM live_scope WHERE name = lease.scope_name AND dropped_at IS NULL);

CREATE INDEX ticket_unsettled ON ticket (id) WHERE ended_at IS NOT NULL AND settled_at IS NULL;
CREATE INDEX person_unsettled ON person (id) WHERE disabled_at IS NOT NULL AND settled_at IS NULL;
CREATE INDEX membership_unsettled ON membership (id)
    WHERE ended_at IS NOT NULL AND tenant_id IS NULL AND settled_at IS NULL;
CREATE INDEX access_grant_unsettled ON access_grant (id)
    WHERE state IN ('refused', 'ended') AND settled_at IS NULL;
CREATE INDEX lease_unsettled ON lease (id) WHERE state = 'revoked' AND settled_at IS NULL;
CREATE INDEX access_grant_of_requester ON access_grant (requester_id)
    WHERE state IN ('requested', 'approved');
DROP INDEX access_grant_approved, ticket_not_ended, person_not_disabled, find_of_remnant;

-- Nothing opens on what is settled: the row is locked, so a sweep that is about to settle it passes
-- it over while we are under way, and we see that it is settled if the sweep was first.
CREATE FUNCTION check_not_settled() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE settled timestamptz;
BEGIN
    IF TG_TABLE_NAME = 'access_grant' THEN
        SELECT settled_at INTO settled FROM ticket WHERE id = NEW.ticket_id FOR KEY SHARE;
        IF settled IS NOT NULL THEN
            RAISE EXCEPTION 'ticket % has ended', NEW.ticket_id;
        END IF;
        PERFORM FROM person WHERE id = NEW.requester_id FOR KEY SHARE;
        IF NOT EXISTS (SELECT FROM person JOIN membership ON person_id = person.id
                WHERE person.id = NEW.requester_id AND disabled_at IS NULL
                AND membership.tenant_id IS NULL AND ended_at IS NULL) THEN
            RAISE EXCEPTION 'person % has no role any more', NEW.requester_id;
        END IF;
    ELSE
        SELECT settled_at INTO settled FROM access_grant WHERE id = NEW.grant_id FOR KEY SHARE;
        IF settled IS NOT NULL THEN
            RAISE EXCEPTION 'grant % is over', NEW.grant_id;
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER not_settled BEFORE INSERT ON access_grant
    FOR EACH ROW EXECUTE FUNCTION check_not_settled();
CREATE TRIGGER not_settled BEFORE INSERT ON lease
    FOR EACH ROW EXECUTE FUNCTION check_not_settled();
CREATE TRIGGER not_settled BEFORE INSERT ON snapshot
    FOR EACH ROW EXECUTE FUNCTION check_not_settled();
