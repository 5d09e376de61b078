-- Lists are paged by an instant that never changes, and by their tenant: a ticket's was that of the
-- last look, which each poll moved, and a login's that of its state.
ALTER TABLE ticket ADD COLUMN mirrored_at timestamptz;
UPDATE ticket SET mirrored_at = seen_at;
ALTER TABLE ticket ALTER COLUMN mirrored_at SET NOT NULL, ALTER COLUMN mirrored_at SET DEFAULT now();
CREATE INDEX ticket_newest ON ticket (mirrored_at, id);
CREATE INDEX ticket_of_tenant ON ticket (tenant_id, mirrored_at);
CREATE INDEX lease_newest ON lease (asked_at, id);
CREATE INDEX lease_of_tenant ON lease (tenant_id, asked_at);
CREATE INDEX snapshot_of_tenant ON snapshot (tenant_id, ordered_at);
CREATE INDEX review_newest ON review (owed_at, id);
CREATE INDEX standing_newest ON standing_approval (proposed_at, id);
