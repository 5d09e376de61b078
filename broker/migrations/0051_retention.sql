-- How long records are kept, what a night took by it, and what is kept to improve, without identifiers.

CREATE TABLE retention_schedule (
    digest text PRIMARY KEY CHECK (digest ~ '^[0-9a-f]{64}$'),
    document jsonb NOT NULL,
    loaded_at timestamptz NOT NULL,
    confirmed_at timestamptz,
    confirmed_by text REFERENCES person (id),
    CHECK ((confirmed_at IS NULL) = (confirmed_by IS NULL))
);
CREATE TABLE retention_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest text NOT NULL REFERENCES retention_schedule (digest),
    at timestamptz NOT NULL,
    tried boolean NOT NULL,
    counts jsonb NOT NULL
);
CREATE TABLE improvement_report (
    month date PRIMARY KEY,
    made_at timestamptz NOT NULL,
    records bigint NOT NULL,
    grouped bigint NOT NULL,
    left_out bigint NOT NULL
);
CREATE TABLE improvement_row (
    month date NOT NULL,
    about text NOT NULL,
    severity text NOT NULL,
    kind text NOT NULL,
    records bigint NOT NULL CHECK (records >= 5),
    median_hours bigint NOT NULL,
    PRIMARY KEY (month, about, severity, kind)
);

GRANT SELECT, INSERT ON retention_schedule, retention_run, improvement_report, improvement_row
    TO broker_app;
GRANT UPDATE (confirmed_at, confirmed_by) ON retention_schedule TO broker_app;
GRANT DELETE ON ticket_comment, alarm TO broker_app;
