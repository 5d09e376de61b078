-- A standing approval that was withdrawn is settled once nothing approved under it is open, like all else
-- that has ended: a sweep then reads none of what was approved and lives.

ALTER TABLE standing_approval ADD COLUMN settled_at timestamptz;
GRANT UPDATE (settled_at) ON standing_approval TO broker_app;
UPDATE standing_approval SET settled_at = now() WHERE state = 'ended' AND NOT keeps_grants
    AND NOT EXISTS (SELECT FROM access_grant
        WHERE standing_id = standing_approval.id AND state IN ('requested', 'approved'));
CREATE INDEX standing_unsettled ON standing_approval (id)
    WHERE state = 'ended' AND NOT keeps_grants AND settled_at IS NULL;
-- What may end by its time: over, however many have long ended.
CREATE INDEX standing_ends ON standing_approval (ends_at) WHERE state IN ('proposed', 'given');
CREATE INDEX standing_lapses ON standing_approval (lapses_at) WHERE state = 'proposed';

-- Who approves under it locks it before looking at it, so that the sweep that would settle it passes it over.
CREATE OR REPLACE FUNCTION check_standing_use() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM standing_approval WHERE id = NEW.standing_id FOR KEY SHARE;
    IF NOT EXISTS (
        SELECT FROM standing_approval
        WHERE id = NEW.standing_id AND state = 'given' AND tenant_id = NEW.tenant_id
            AND database_id = NEW.database_id AND ends_at >= NEW.ends_at
    ) THEN
        RAISE EXCEPTION '% is not within %', NEW.id, NEW.standing_id;
    END IF;
    RETURN NEW;
END $$;
