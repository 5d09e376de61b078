-- Standbys on which the end of a login is confirmed too, each HOST:PORT.

ALTER TABLE tenant_database ADD COLUMN standbys text[] NOT NULL DEFAULT '{}';
