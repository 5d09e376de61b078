-- Which late promise was told, at which level. `since` tells two looks at one copy apart.

CREATE TABLE alarm (
    what text NOT NULL,
    id text NOT NULL,
    since timestamptz NOT NULL,
    level_s bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (what, id, since, level_s)
);
GRANT SELECT, INSERT ON alarm TO broker_app;

-- What is promised is found without reading what is kept.
CREATE INDEX snapshot_condemned ON snapshot (state_at) WHERE state = 'condemned';
