-- Requests that an engineer writes as a comment on the ticket: which comments were answered, and that
-- such a request is answered by people of the customer, each time.

CREATE TABLE ticket_command (
    system text NOT NULL,
    remark_id text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (system, remark_id)
);
CREATE INDEX ticket_command_at ON ticket_command (at);
GRANT SELECT, INSERT, DELETE ON ticket_command TO broker_app;

ALTER TABLE access_grant
    ADD COLUMN asked_on_ticket boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT asked_on_ticket_is_plain CHECK (NOT asked_on_ticket OR (
        standing_id IS NULL AND NOT break_glass AND extends IS NULL AND starts_at IS NULL
        AND asked_kind IN ('masked', 'structure') AND NOT asked_develop
        AND platform_id IS NULL AND storage_id IS NULL
    ));
CREATE FUNCTION check_asked_on_ticket_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'how % was asked does not change', OLD.id;
END $$;
CREATE TRIGGER asked_on_ticket_frozen BEFORE UPDATE OF asked_on_ticket ON access_grant
    FOR EACH ROW WHEN (NEW.asked_on_ticket <> OLD.asked_on_ticket)
    EXECUTE FUNCTION check_asked_on_ticket_frozen();
