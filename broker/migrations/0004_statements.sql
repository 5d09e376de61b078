-- Several decisions on one grant, and signed statements of decisions and of ends of access.

ALTER TABLE decision DROP CONSTRAINT decision_grant_id_key;
ALTER TABLE decision DROP CONSTRAINT decision_verdict_check;
ALTER TABLE decision
    ADD COLUMN side text NOT NULL DEFAULT 'tenant' CHECK (side IN ('tenant', 'vendor')),
    ADD COLUMN settles boolean NOT NULL DEFAULT true,
    ADD COLUMN live_s bigint NOT NULL DEFAULT 0,
    ADD COLUMN copy_s bigint NOT NULL DEFAULT 0;
UPDATE decision SET live_s = given_live_s, copy_s = given_copy_s
FROM access_grant WHERE access_grant.id = grant_id AND verdict = 'approved';
ALTER TABLE decision
    ALTER COLUMN side DROP DEFAULT,
    ALTER COLUMN settles DROP DEFAULT,
    ALTER COLUMN live_s DROP DEFAULT,
    ALTER COLUMN copy_s DROP DEFAULT,
    ADD CONSTRAINT decision_verdict CHECK (verdict IN ('approved', 'refused', 'ended')),
    -- Only a customer gives; who refuses has decided; who ends has not answered the request.
    ADD CONSTRAINT decision_of_customer CHECK (verdict = 'ended' OR side = 'tenant'),
    ADD CONSTRAINT decision_settling
        CHECK (CASE verdict WHEN 'refused' THEN settles WHEN 'ended' THEN NOT settles ELSE true END);
CREATE UNIQUE INDEX decision_settles ON decision (grant_id) WHERE settles;
CREATE UNIQUE INDEX decision_ends ON decision (grant_id) WHERE verdict = 'ended';
-- Nobody counts twice, whatever roles they have.
CREATE UNIQUE INDEX decision_of_person ON decision (grant_id, person_id, verdict);

CREATE TABLE statement (
    subject text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    kind text NOT NULL CHECK (kind IN ('decision', 'end_of_access')),
    envelope bytea NOT NULL,
    signed_at timestamptz NOT NULL
);
GRANT SELECT, INSERT ON statement TO broker_app;
