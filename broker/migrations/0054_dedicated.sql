-- Dedicated test servers: a PostgreSQL for one copy alone, on an encrypted volume of its own.
-- `port` is the server's; `wrapped_volume_key` opens the volume with the copy's key in the key port.

ALTER TABLE test_server
    ADD COLUMN kind text NOT NULL DEFAULT 'shared' CHECK (kind IN ('shared', 'dedicated'));
ALTER TABLE access_grant
    ADD COLUMN asked_dedicated boolean NOT NULL DEFAULT false,
    ADD CHECK (NOT asked_dedicated OR asked_copy_s > 0);
ALTER TABLE snapshot
    ADD COLUMN port bigint CHECK (port BETWEEN 1 AND 65535),
    ADD COLUMN wrapped_volume_key bytea;
ALTER TABLE lease ADD COLUMN port bigint CHECK (port BETWEEN 1 AND 65535);
-- Two servers of copies on one host never share a port, whoever chooses it at the same time.
CREATE UNIQUE INDEX snapshot_port ON snapshot (server_id, port)
    WHERE port IS NOT NULL AND state <> 'destroyed';
