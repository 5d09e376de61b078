-- Full hash tiles of the logs (C2SP tlog-tiles), with the root over each: written once, from what
-- the entries say, so that a proof is made of a few reads.

CREATE TABLE audit_tile (
    log_id text NOT NULL REFERENCES audit_log (id),
    level bigint NOT NULL CHECK (level BETWEEN 0 AND 6),
    number bigint NOT NULL CHECK (number >= 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    hashes bytea NOT NULL CHECK (octet_length(hashes) = 256 * 32),
    PRIMARY KEY (log_id, level, number)
);
-- Hashes don't compress; kept outside the row, reading many roots stays cheap.
ALTER TABLE audit_tile ALTER COLUMN hashes SET STORAGE EXTERNAL;
GRANT SELECT, INSERT ON audit_tile TO broker_app;
