-- A pause is an attribute beside the state: what was asked, by which side, and whether it is done.

ALTER TABLE access_grant
    ADD COLUMN paused_at timestamptz,
    ADD COLUMN paused_by text REFERENCES person (id),
    ADD COLUMN paused_side text CHECK (paused_side IN ('vendor', 'tenant')),
    ADD CHECK ((paused_at IS NULL) = (paused_side IS NULL));

-- `held_at`: since when a fresh look found no login that is let in, and no session.
ALTER TABLE lease
    ADD COLUMN paused_at timestamptz,
    ADD COLUMN paused_by text REFERENCES person (id),
    ADD COLUMN paused_side text CHECK (paused_side IN ('vendor', 'tenant')),
    ADD COLUMN held_at timestamptz,
    ADD CHECK ((paused_at IS NULL) = (paused_side IS NULL));
