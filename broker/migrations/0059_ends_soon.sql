-- The share 100: who asked was told that what was given ends soon.

ALTER TABLE reminder DROP CONSTRAINT reminder_share_check;
ALTER TABLE reminder ADD CONSTRAINT reminder_share_check CHECK (share BETWEEN 1 AND 100);
