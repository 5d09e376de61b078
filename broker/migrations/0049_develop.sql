-- Logins on a copy that may change its definitions too: asked with the request, for a copy alone.
-- What is given stands in the plan, which the decision names by its digest.

ALTER TABLE access_grant
    ADD COLUMN asked_develop boolean NOT NULL DEFAULT false,
    ADD CHECK (NOT asked_develop OR asked_copy_s > 0);
