-- A tenant's migration comes first: no login is made there for a while, and why views still stand.

ALTER TABLE tenant_database ADD COLUMN released_until timestamptz;
ALTER TABLE live_scope ADD COLUMN stuck_reason text;
CREATE INDEX live_scope_standing ON live_scope (database_id) WHERE dropped_at IS NULL;
