-- Contact details of a tenant's people that were shown, each on the consent of the person.

CREATE TABLE disclosure (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    person_id text NOT NULL REFERENCES person (id),
    field text NOT NULL CHECK (field IN ('name', 'email')),
    ticket_id text NOT NULL REFERENCES ticket (id),
    shown_to text NOT NULL REFERENCES person (id),
    consent_id text NOT NULL REFERENCES consent_act (id),
    at timestamptz NOT NULL
);
CREATE INDEX disclosure_of_person ON disclosure (person_id, at);
CREATE INDEX disclosure_shown_to ON disclosure (shown_to);
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON disclosure
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
GRANT SELECT, INSERT ON disclosure TO broker_app;

-- The second barrier: nothing is shown without a consent of that person to that field, given before.
CREATE FUNCTION check_disclosure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM consent_act
        WHERE id = NEW.consent_id AND person_id = NEW.person_id AND about = NEW.field
            AND tenant_id = NEW.tenant_id AND purpose = 'support_contact'
            AND act IN ('given', 'renewed') AND lapses_at > NEW.at
    ) THEN
        RAISE EXCEPTION '% does not consent to showing %', NEW.person_id, NEW.field;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER shown_by_consent BEFORE INSERT ON disclosure
    FOR EACH ROW EXECUTE FUNCTION check_disclosure();
