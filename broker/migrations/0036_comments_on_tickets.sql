-- What is to be said on tickets, until it was.

CREATE TABLE ticket_comment (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticket_id text NOT NULL REFERENCES ticket (id),
    key text NOT NULL UNIQUE,
    text text NOT NULL,
    path text NOT NULL,
    created_at timestamptz NOT NULL,
    sent_at timestamptz,
    attempts bigint NOT NULL,
    next_try_at timestamptz,
    stuck_since timestamptz,
    stuck_reason text
);
CREATE INDEX ticket_comment_due ON ticket_comment (next_try_at) WHERE next_try_at IS NOT NULL;
GRANT SELECT, INSERT, UPDATE ON ticket_comment TO broker_app;
GRANT USAGE ON SEQUENCE ticket_comment_id_seq TO broker_app;
