-- Decisions are proved again where a login or a copy is made: what was found altered, and the entry
-- that says that a decision's statement was signed once.

ALTER TABLE access_grant ADD COLUMN altered_at timestamptz;
CREATE INDEX access_grant_altered ON access_grant (id)
    WHERE altered_at IS NOT NULL AND state IN ('requested', 'approved');
CREATE INDEX audit_entry_of_decision ON audit_entry (subject) WHERE subject LIKE 'dec\_%';
