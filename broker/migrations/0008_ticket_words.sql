-- What a ticket's system says of its severity and category: what a customer's standing approvals
-- may ask for. Absent where the system says nothing, or what is no such word.

ALTER TABLE ticket
    ADD COLUMN severity text CHECK (severity ~ '^[a-z0-9][a-z0-9 ._-]{0,39}$'),
    ADD COLUMN category text CHECK (category ~ '^[a-z0-9][a-z0-9 ._-]{0,39}$');
