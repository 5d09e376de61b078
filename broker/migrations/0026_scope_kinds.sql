-- What is asked to be seen: structure alone, rows through masks, or with named columns in clear.
-- The database itself forbids that a decision widens it, and that a copy is ever raw.

ALTER TABLE access_grant
    ADD COLUMN asked_kind text NOT NULL DEFAULT 'masked'
        CHECK (asked_kind IN ('structure', 'masked', 'raw')),
    ADD COLUMN raw_columns jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN given_kind text
        CHECK (given_kind = asked_kind OR (given_kind, asked_kind) = ('masked', 'raw')),
    ADD CHECK ((asked_kind = 'raw') = (raw_columns <> '[]')),
    ADD CHECK (asked_kind <> 'raw' OR asked_copy_s = 0);
ALTER TABLE decision ADD COLUMN kind text CHECK (kind IN ('structure', 'masked', 'raw'));
