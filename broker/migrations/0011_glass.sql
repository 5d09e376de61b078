-- Looks at what is open now. `sealed` is the answer, for the one reader whose key is `public`; the
-- other half of that key lives in the memory of the request that asked, and dies with it.

CREATE TABLE glass_look (
    id text PRIMARY KEY,
    asked_by text NOT NULL REFERENCES person (id),
    asked_at timestamptz NOT NULL,
    lease_ids text[] NOT NULL,
    statement_ids text[] NOT NULL,
    public bytea NOT NULL,
    sealed bytea
);
CREATE INDEX glass_look_by_time ON glass_look (asked_at);
CREATE INDEX glass_look_of_person ON glass_look (asked_by, asked_at);

-- When a person's reading of a tenant's glass was written down last.
CREATE TABLE glass_reader (
    person_id text NOT NULL REFERENCES person (id),
    tenant_id text NOT NULL REFERENCES tenant (id),
    noted_at timestamptz NOT NULL,
    PRIMARY KEY (person_id, tenant_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON glass_look TO broker_app;
GRANT SELECT, INSERT, UPDATE ON glass_reader TO broker_app;
