-- Which PostgreSQL cluster stands behind an address: kept at first contact, confirmed by a person when
-- another one is found there. `timeline` is null until what stands there was swept.

ALTER TABLE tenant_database
    ADD COLUMN cluster text, ADD COLUMN timeline bigint, ADD COLUMN found_cluster text;
ALTER TABLE test_server
    ADD COLUMN cluster text, ADD COLUMN timeline bigint, ADD COLUMN found_cluster text;
