-- When a tenant's checkpoint was mailed to its readers last.

ALTER TABLE audit_log ADD COLUMN mailed_at timestamptz;
