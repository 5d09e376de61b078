-- What witnesses signed under the root log's checkpoints.

CREATE TABLE root_cosignature (
    size bigint NOT NULL,
    witness text NOT NULL,
    line text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (size, witness)
);
GRANT SELECT, INSERT ON root_cosignature TO broker_app;
