-- A customer leaves: announced, ended, closed, kept for the legal term, erased.

ALTER TABLE tenant ADD COLUMN left_at timestamptz;

CREATE TABLE departure (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    state text NOT NULL
        CHECK (state IN ('announced', 'cancelled', 'closing', 'closed', 'erasing', 'erased')),
    state_at timestamptz NOT NULL,
    state_by text REFERENCES person (id),
    side text NOT NULL CHECK (side IN ('vendor', 'tenant')),
    announced_at timestamptz NOT NULL,
    leaves_at timestamptz NOT NULL CHECK (leaves_at >= announced_at),
    closed_at timestamptz,
    erased_at timestamptz,
    counts jsonb,
    envelope bytea,
    CHECK (state NOT IN ('closed', 'erasing', 'erased') OR closed_at IS NOT NULL),
    CHECK (state NOT IN ('erasing', 'erased') OR num_nulls(erased_at, counts, envelope) = 0)
);
CREATE UNIQUE INDEX departure_of_tenant ON departure (tenant_id) WHERE state <> 'cancelled';
CREATE CONSTRAINT TRIGGER state_has_entry AFTER INSERT OR UPDATE OF state ON departure
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_state_has_entry();
GRANT SELECT, INSERT ON departure TO broker_app;
GRANT UPDATE (state, state_at, state_by, closed_at, erased_at, counts, envelope)
    ON departure TO broker_app;

-- One way; what was closed stays so.
CREATE FUNCTION check_departure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
            ('announced', 'cancelled'), ('announced', 'closing'), ('closing', 'closed'),
            ('closed', 'erasing'), ('erasing', 'erased')) THEN
        RAISE EXCEPTION 'departure % is %; it can''t become %', OLD.id, OLD.state, NEW.state;
    END IF;
    IF OLD.closed_at IS DISTINCT FROM NEW.closed_at AND OLD.closed_at IS NOT NULL THEN
        RAISE EXCEPTION 'departure % was closed at %', OLD.id, OLD.closed_at;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER departure_goes_on BEFORE UPDATE ON departure
    FOR EACH ROW EXECUTE FUNCTION check_departure();

-- Nothing begins where the customer left: who inserts waits for who marks it.
CREATE FUNCTION check_not_left() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gone timestamptz;
BEGIN
    SELECT left_at INTO gone FROM tenant WHERE id = NEW.tenant_id FOR KEY SHARE;
    IF gone IS NOT NULL THEN
        RAISE EXCEPTION 'tenant % left at %', NEW.tenant_id, gone;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER not_left BEFORE INSERT ON access_grant
    FOR EACH ROW EXECUTE FUNCTION check_not_left();
CREATE TRIGGER not_left BEFORE INSERT ON standing_approval
    FOR EACH ROW EXECUTE FUNCTION check_not_left();
CREATE TRIGGER not_left BEFORE INSERT ON tenant_database
    FOR EACH ROW EXECUTE FUNCTION check_not_left();
CREATE TRIGGER not_left BEFORE INSERT ON platform
    FOR EACH ROW EXECUTE FUNCTION check_not_left();
CREATE TRIGGER not_left BEFORE INSERT ON storage
    FOR EACH ROW EXECUTE FUNCTION check_not_left();
CREATE TRIGGER not_left BEFORE INSERT ON backup_plan
    FOR EACH ROW EXECUTE FUNCTION check_not_left();
CREATE TRIGGER not_left BEFORE INSERT ON drill
    FOR EACH ROW EXECUTE FUNCTION check_not_left();
CREATE TRIGGER not_left BEFORE INSERT ON consent_act
    FOR EACH ROW WHEN (NEW.act IN ('given', 'renewed')) EXECUTE FUNCTION check_not_left();

-- The application can't change what was decided; this function can, and refuses whoever is not
-- closed, or was for less than a year. Triggers that keep texts as they are let it pass.
CREATE FUNCTION is_erasing(of_tenant text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(current_setting('broker.erasing', true), '') = of_tenant AND current_user = (
        SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE proname = 'erase_departed')
$$;
DROP TRIGGER part_fixed ON tenant_database;
CREATE TRIGGER part_fixed BEFORE UPDATE OF tenancy, schemas, tenant_id, dbname ON tenant_database
    FOR EACH ROW WHEN (NOT is_erasing(OLD.tenant_id)) EXECUTE FUNCTION check_part_fixed();
DROP TRIGGER hold_fixed ON legal_hold;
CREATE TRIGGER hold_fixed BEFORE UPDATE ON legal_hold
    FOR EACH ROW WHEN (NOT is_erasing(OLD.tenant_id)) EXECUTE FUNCTION check_hold_fixed();
DROP TRIGGER only_added ON handover;
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE ON handover
    FOR EACH ROW WHEN (NOT is_erasing(OLD.tenant_id)) EXECUTE FUNCTION refuse_change();
DROP TRIGGER backup_run_goes_on ON backup_run;
CREATE TRIGGER backup_run_goes_on BEFORE UPDATE ON backup_run
    FOR EACH ROW WHEN (NOT is_erasing(OLD.tenant_id)) EXECUTE FUNCTION check_backup_run();
DROP TRIGGER review_closed ON review;
CREATE TRIGGER review_closed BEFORE UPDATE ON review
    FOR EACH ROW WHEN (NOT is_erasing(OLD.tenant_id)) EXECUTE FUNCTION check_review_closing();

CREATE FUNCTION erase_departed(of_departure text, kept_days integer)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    whose text;
    step text[]; -- a table, and what is done to the customer's rows of it
    counts jsonb := '{}';
    n bigint;
BEGIN
    SELECT tenant_id INTO whose FROM departure
     WHERE id = of_departure AND state = 'closed'
       AND closed_at + make_interval(days => greatest(kept_days, 365)) <= clock_timestamp();
    IF whose IS NULL THEN
        RAISE EXCEPTION '% is not closed, or not for its whole term', of_departure;
    END IF;
    PERFORM set_config('broker.erasing', whose, true);
    FOREACH step SLICE 1 IN ARRAY ARRAY[
        ['audit_opening', $s$DELETE FROM audit_opening WHERE entry_id IN (SELECT e.id FROM audit_entry e JOIN audit_log l ON l.id = e.log_id
             WHERE l.tenant_id = $1 OR (l.tenant_id IS NULL AND NOT l.root AND e.subject = $1))$s$],
        ['ticket_comment', $s$DELETE FROM ticket_comment WHERE ticket_id IN (SELECT id FROM ticket WHERE tenant_id = $1)$s$],
        ['mail', $s$DELETE FROM mail WHERE tenant_id = $1$s$],
        ['glass_reader', $s$DELETE FROM glass_reader WHERE tenant_id = $1$s$],
        ['find', $s$DELETE FROM find WHERE tenant_id = $1$s$],
        ['preflight', $s$DELETE FROM preflight WHERE target IN (SELECT id FROM tenant_database WHERE tenant_id = $1)$s$],
        ['webhook_delivery', $s$DELETE FROM webhook_delivery WHERE webhook_id IN (SELECT id FROM webhook WHERE tenant_id = $1)$s$],
        ['webhook', $s$DELETE FROM webhook WHERE tenant_id = $1$s$],
        ['directory_person', $s$DELETE FROM directory_person WHERE tenant_id = $1$s$],
        ['directory', $s$DELETE FROM directory WHERE tenant_id = $1$s$],
        ['linked_identity', $s$DELETE FROM linked_identity WHERE provider_id IN (SELECT id FROM identity_provider WHERE tenant_id = $1)$s$],
        ['oidc_answer', $s$DELETE FROM oidc_answer WHERE provider_id IN (SELECT id FROM identity_provider WHERE tenant_id = $1)$s$],
        ['identity_provider', $s$DELETE FROM identity_provider WHERE tenant_id = $1$s$],
        ['backup_plan', $s$UPDATE backup_plan SET host = 'erased', place = 'erased'
             WHERE tenant_id = $1$s$],
        ['backup_run', $s$UPDATE backup_run SET place = 'erased'
             WHERE tenant_id = $1 AND place IS NOT NULL$s$],
        ['backup_restore', $s$UPDATE backup_restore SET reason = '', target = ''
             WHERE tenant_id = $1$s$],
        ['ticket', $s$UPDATE ticket SET external_id = id, title = '', url = NULL, category = NULL
             WHERE tenant_id = $1$s$],
        ['access_grant', $s$UPDATE access_grant SET reason = '', end_reason = NULL, raw_columns = '[]', stuck_reason = NULL
             WHERE tenant_id = $1$s$],
        ['decision', $s$UPDATE decision SET note = NULL, assertion = NULL
             WHERE grant_id IN (SELECT id FROM access_grant WHERE tenant_id = $1)$s$],
        ['plan', $s$UPDATE plan SET document = '{}', literals = '{}'
             WHERE grant_id IN (SELECT id FROM access_grant WHERE tenant_id = $1)$s$],
        ['standing_approval', $s$UPDATE standing_approval SET conditions = '{}', plan = '{}', note = ''
             WHERE tenant_id = $1$s$],
        ['approval_policy', $s$UPDATE approval_policy SET document = '{}'
             WHERE tenant_id = $1$s$],
        ['review', $s$UPDATE review SET note = NULL
             WHERE tenant_id = $1$s$],
        ['legal_hold', $s$UPDATE legal_hold SET reason = '', authority_order = NULL
             WHERE tenant_id = $1$s$],
        ['lease', $s$UPDATE lease SET dbname = 'erased', stuck_reason = NULL, stuck_sql = NULL, looked_at = '[]'
             WHERE tenant_id = $1$s$],
        ['drill', $s$UPDATE drill SET problem = NULL, stuck_reason = NULL
             WHERE tenant_id = $1$s$],
        ['snapshot', $s$UPDATE snapshot SET progress = '{}', report = NULL, condemned_why = NULL, stuck_reason = NULL
             WHERE tenant_id = $1$s$],
        ['handover', $s$UPDATE handover SET reason = ''
             WHERE tenant_id = $1$s$],
        ['tenant_database', $s$UPDATE tenant_database SET name = 'erased', host = 'erased.invalid', dbname = 'erased',
             login = 'erased', ca_file = NULL, schemas = '{}', known_logins = '{}', standbys = '{}',
             tenancy = '{"form": "database"}', cluster = NULL, found_cluster = NULL
             WHERE tenant_id = $1$s$],
        ['platform', $s$UPDATE platform SET name = 'erased', audience = 'https://erased.invalid/' || id
             WHERE tenant_id = $1$s$],
        ['storage', $s$UPDATE storage SET name = 'erased', bucket = 'erased', prefix = id || '/'
             WHERE tenant_id = $1$s$],
        ['tenant', $s$UPDATE tenant SET name = 'erased', ticket_customer = id, legal_id = NULL
             WHERE id = $1$s$]
    ] LOOP
        EXECUTE step[2] USING whose;
        GET DIAGNOSTICS n = ROW_COUNT;
        counts := counts || jsonb_build_object(step[1], n);
    END LOOP;
    PERFORM set_config('broker.erasing', '', true);
    RETURN counts;
END $$;
REVOKE ALL ON FUNCTION erase_departed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_departed TO broker_app;
