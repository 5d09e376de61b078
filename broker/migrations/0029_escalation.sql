-- A request that waited too long without enough answers was told to others, once.

ALTER TABLE access_grant ADD COLUMN escalated_at timestamptz;
