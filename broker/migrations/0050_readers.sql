-- In which language and by which clock a person reads mails, and which of them they declined.

ALTER TABLE person
    ADD COLUMN language text CHECK (language IN ('en', 'fr')),
    ADD COLUMN zone text CHECK (length(zone) BETWEEN 1 AND 64),
    ADD COLUMN declined_notices text[] NOT NULL DEFAULT '{}';

ALTER TABLE mail
    ADD COLUMN kind text NOT NULL DEFAULT 'administrative',
    ADD COLUMN page text NOT NULL DEFAULT '',
    ADD COLUMN thread text NOT NULL DEFAULT '';
