-- Of how many tables a decision restricted the rows; which, and to what, stands in its plan, by digest.

ALTER TABLE decision
    ADD COLUMN tables_restricted bigint NOT NULL DEFAULT 0 CHECK (tables_restricted >= 0);
