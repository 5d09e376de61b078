-- Timestamps by a third party (RFC 3161): of certificates, and of the root log's checkpoints.

CREATE TABLE trusted_time (
    subject text PRIMARY KEY,
    tenant_id text REFERENCES tenant (id),
    response bytea NOT NULL,
    said_at timestamptz NOT NULL,
    at timestamptz NOT NULL
);
GRANT SELECT, INSERT ON trusted_time TO broker_app;
