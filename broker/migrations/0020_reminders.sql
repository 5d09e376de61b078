-- At which share of its time a request's admins were reminded: each once.

CREATE TABLE reminder (
    grant_id text NOT NULL REFERENCES access_grant (id),
    share bigint NOT NULL CHECK (share BETWEEN 1 AND 99),
    at timestamptz NOT NULL,
    PRIMARY KEY (grant_id, share)
);
GRANT SELECT, INSERT ON reminder TO broker_app;
