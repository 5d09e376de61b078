-- What people ask of us about their own data, with its clock; what an erasure left, row by row.

CREATE TABLE rights_case (
    id text PRIMARY KEY,
    person_id text NOT NULL REFERENCES person (id),
    kind text NOT NULL CHECK (kind IN
        ('access', 'portability', 'rectification', 'erasure', 'restriction', 'objection')),
    said text NOT NULL DEFAULT '',
    proof text NOT NULL, -- how we know that it is them
    by_id text NOT NULL REFERENCES person (id), -- who wrote it down: they, or a privacy officer
    received_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL CHECK (due_at > received_at),
    extended_at timestamptz,
    extended_why text,
    reminded_at timestamptz,
    answered_at timestamptz,
    outcome text CHECK (outcome IN ('done', 'partly', 'refused')),
    answer text,
    CHECK ((extended_at IS NULL) = (extended_why IS NULL)),
    CHECK (num_nulls(answered_at, outcome, answer) IN (0, 3))
);
CREATE INDEX rights_case_open ON rights_case (due_at) WHERE answered_at IS NULL;
CREATE INDEX rights_case_of_person ON rights_case (person_id);

-- An extension is one, an answer is the last word. Texts alone change: erasure takes names away.
CREATE FUNCTION check_rights_case() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.answered_at IS NOT NULL
                AND (NEW.answered_at, NEW.outcome) IS DISTINCT FROM (OLD.answered_at, OLD.outcome)
            OR OLD.extended_at IS NOT NULL
                AND (NEW.extended_at, NEW.due_at) IS DISTINCT FROM (OLD.extended_at, OLD.due_at)
            OR (NEW.person_id, NEW.kind, NEW.received_at)
                IS DISTINCT FROM (OLD.person_id, OLD.kind, OLD.received_at) THEN
        RAISE EXCEPTION '% was answered, extended or asked already', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER rights_case_goes_on BEFORE UPDATE ON rights_case
    FOR EACH ROW EXECUTE FUNCTION check_rights_case();

CREATE TABLE erasure (
    person_id text PRIMARY KEY REFERENCES person (id),
    by_id text NOT NULL REFERENCES person (id),
    at timestamptz NOT NULL,
    openings bigint NOT NULL,
    kept jsonb NOT NULL -- [{table, key, columns, why}]
);
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON erasure
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
GRANT SELECT, INSERT ON rights_case, erasure TO broker_app;
GRANT UPDATE (due_at, extended_at, extended_why, reminded_at, answered_at, outcome, answer, said)
    ON rights_case TO broker_app;

ALTER TABLE person ADD COLUMN restricted_at timestamptz;
-- A person who is restricted is written to about their own rights, and about nothing else.
ALTER TABLE mail ADD COLUMN about_rights boolean NOT NULL DEFAULT false;
CREATE INDEX audit_opening_without_person ON audit_opening (entry_id) WHERE person_id IS NULL;
