-- What a list begins with, for the vendor's people: the newest of all tenants. These instants never
-- change, so no update costs more by it.
CREATE INDEX access_grant_newest ON access_grant (requested_at, id);
CREATE INDEX snapshot_newest ON snapshot (ordered_at, id);
CREATE INDEX certificate_newest ON certificate (issued_at, id);
