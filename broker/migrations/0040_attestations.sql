-- What the person for whom a copy was made says that they took out of it: only ever added to.

CREATE TABLE attestation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    snapshot_id text NOT NULL REFERENCES snapshot (id),
    person_id text NOT NULL REFERENCES person (id),
    took text NOT NULL CHECK (took IN ('nothing', 'erased', 'kept')),
    at timestamptz NOT NULL
);
CREATE INDEX attestation_of_snapshot ON attestation (snapshot_id);
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON attestation
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON attestation
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON attestation TO broker_app;
