-- Breaches of personal data, with the 72 hours that begin when they are known.

CREATE TABLE breach (
    id text PRIMARY KEY,
    said text NOT NULL,
    things text[] NOT NULL CHECK (cardinality(things) BETWEEN 1 AND 50),
    since timestamptz NOT NULL,
    until timestamptz NOT NULL CHECK (until > since),
    known_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL CHECK (due_at = known_at + interval '72 hours'),
    recorded_by text NOT NULL REFERENCES person (id),
    notified_at timestamptz,
    authority_reference text,
    unnotified_why text,
    told_at timestamptz,
    CHECK ((notified_at IS NULL) = (authority_reference IS NULL)),
    CHECK (notified_at IS NULL OR unnotified_why IS NULL)
);
CREATE INDEX breach_open ON breach (due_at) WHERE notified_at IS NULL AND unnotified_why IS NULL;

-- What is known of a breach is never rewritten, and what was settled stays settled.
CREATE FUNCTION check_breach() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.notified_at IS NOT NULL AND NEW.notified_at IS DISTINCT FROM OLD.notified_at
            OR OLD.unnotified_why IS NOT NULL
                AND NEW.unnotified_why IS DISTINCT FROM OLD.unnotified_why
            OR OLD.told_at IS NOT NULL AND NEW.told_at IS DISTINCT FROM OLD.told_at THEN
        RAISE EXCEPTION '% was settled, or told, already', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER breach_goes_on BEFORE UPDATE ON breach
    FOR EACH ROW EXECUTE FUNCTION check_breach();

GRANT SELECT, INSERT ON breach TO broker_app;
GRANT UPDATE (notified_at, authority_reference, unnotified_why, told_at) ON breach TO broker_app;
