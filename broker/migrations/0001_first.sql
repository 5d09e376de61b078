-- The control database, first form. Run by its owner; the application's role `broker_app` owns
-- nothing, may not change an audit entry's bytes, and may delete only what is listed at the end.

CREATE TABLE tenant (
    id text PRIMARY KEY,
    name text NOT NULL,
    ticket_customer text NOT NULL UNIQUE,
    log_origin text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE person (
    id text PRIMARY KEY,
    side text NOT NULL CHECK (side IN ('vendor', 'tenant')),
    name text NOT NULL,
    email text NOT NULL,
    address_key text NOT NULL UNIQUE,
    address_fold text NOT NULL,
    password_hash text,
    created_at timestamptz NOT NULL,
    disabled_at timestamptz,
    UNIQUE (id, side)
);

CREATE INDEX person_by_fold ON person (address_fold);

-- The foreign key on (person, side) keeps a person of the vendor out of every tenant.
CREATE TABLE membership (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id text NOT NULL,
    side text NOT NULL,
    tenant_id text REFERENCES tenant (id),
    role text NOT NULL,
    name text NOT NULL,
    email text NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    FOREIGN KEY (person_id, side) REFERENCES person (id, side),
    CHECK ((side = 'vendor') = (tenant_id IS NULL))
);
CREATE INDEX membership_of_person ON membership (person_id) WHERE ended_at IS NULL;
CREATE INDEX membership_of_tenant ON membership (tenant_id) WHERE ended_at IS NULL;

CREATE TABLE role_permission (
    side text NOT NULL,
    role text NOT NULL,
    permission text NOT NULL,
    PRIMARY KEY (side, role, permission)
);

CREATE TABLE sign_in_attempt (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_digest bytea NOT NULL,
    address text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX sign_in_attempt_by_address ON sign_in_attempt (address, at);

CREATE TABLE web_session (
    id text PRIMARY KEY,
    person_id text NOT NULL REFERENCES person (id),
    token_digest bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE INDEX web_session_of_person ON web_session (person_id) WHERE ended_at IS NULL;

CREATE TABLE api_token (
    id text PRIMARY KEY,
    person_id text NOT NULL REFERENCES person (id),
    name text NOT NULL,
    token_digest bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    ended_at timestamptz
);

CREATE TABLE invitation (
    id text PRIMARY KEY,
    person_id text NOT NULL REFERENCES person (id),
    code_digest bytea UNIQUE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);

CREATE TABLE audit_log (
    id text PRIMARY KEY,
    tenant_id text UNIQUE NULLS NOT DISTINCT REFERENCES tenant (id),
    origin text NOT NULL UNIQUE,
    size bigint NOT NULL,
    frontier bytea[] NOT NULL
);

CREATE TABLE audit_entry (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    log_id text NOT NULL REFERENCES audit_log (id),
    subject text NOT NULL,
    entry bytea NOT NULL,
    idx bigint,
    leaf_hash bytea,
    txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    UNIQUE (log_id, idx)
);
CREATE INDEX audit_entry_pending ON audit_entry (log_id, id) WHERE idx IS NULL;
CREATE INDEX audit_entry_of_transaction ON audit_entry (txid);

CREATE TABLE audit_opening (
    entry_id bigint NOT NULL REFERENCES audit_entry (id),
    field text NOT NULL,
    person_id text REFERENCES person (id),
    salt bytea NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (entry_id, field)
);
CREATE INDEX audit_opening_of_person ON audit_opening (person_id);

CREATE TABLE audit_checkpoint (
    log_id text NOT NULL REFERENCES audit_log (id),
    size bigint NOT NULL,
    note text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (log_id, size)
);

CREATE TABLE tenant_database (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    name text NOT NULL,
    host text NOT NULL,
    port bigint NOT NULL,
    dbname text NOT NULL,
    login text NOT NULL,
    sealed_password bytea NOT NULL,
    ca_file text,
    schemas text[] NOT NULL,
    known_logins text[] NOT NULL DEFAULT '{}',
    registered_at timestamptz NOT NULL,
    removed_at timestamptz
);
CREATE INDEX tenant_database_of_tenant ON tenant_database (tenant_id);

CREATE TABLE test_server (
    id text PRIMARY KEY,
    name text NOT NULL UNIQUE,
    host text NOT NULL,
    port bigint NOT NULL,
    login text NOT NULL,
    sealed_password bytea NOT NULL,
    ca_file text,
    registered_at timestamptz NOT NULL,
    removed_at timestamptz
);

-- The last look at a database or test server: `target` is its id.
CREATE TABLE preflight (
    target text PRIMARY KEY,
    asked_at timestamptz NOT NULL,
    checked_at timestamptz,
    findings jsonb NOT NULL,
    fatal bigint NOT NULL,
    unexplained text[] NOT NULL,
    attempts bigint NOT NULL DEFAULT 0,
    next_try_at timestamptz,
    stuck_since timestamptz,
    stuck_reason text
);

CREATE TABLE published_key (
    name text PRIMARY KEY,
    public bytea NOT NULL,
    at timestamptz NOT NULL
);

CREATE TABLE ticket (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    system text NOT NULL,
    external_id text NOT NULL,
    title text NOT NULL,
    url text,
    open boolean NOT NULL,
    seen_at timestamptz NOT NULL,
    missing_since timestamptz,
    ended_at timestamptz,
    UNIQUE (system, external_id)
);
CREATE INDEX ticket_open ON ticket (seen_at) WHERE ended_at IS NULL;

CREATE TABLE webhook_seen (
    system text NOT NULL,
    message_id text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (system, message_id)
);

CREATE TABLE ticket_hint (
    system text NOT NULL,
    external_id text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (system, external_id)
);

CREATE TABLE access_grant (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    state text NOT NULL CHECK (state IN ('requested', 'approved', 'refused', 'ended')),
    state_at timestamptz NOT NULL,
    state_by text REFERENCES person (id),
    database_id text NOT NULL REFERENCES tenant_database (id),
    ticket_id text NOT NULL REFERENCES ticket (id),
    requester_id text NOT NULL REFERENCES person (id),
    category text NOT NULL,
    reason text NOT NULL,
    requested_at timestamptz NOT NULL,
    lapses_at timestamptz NOT NULL,
    asked_live_s bigint NOT NULL CHECK (asked_live_s >= 0),
    asked_copy_s bigint NOT NULL CHECK (asked_copy_s >= 0),
    given_live_s bigint NOT NULL DEFAULT 0 CHECK (given_live_s BETWEEN 0 AND asked_live_s),
    given_copy_s bigint NOT NULL DEFAULT 0 CHECK (given_copy_s BETWEEN 0 AND asked_copy_s),
    live_until timestamptz,
    copy_until timestamptz,
    ends_at timestamptz,
    end_reason text,
    asked_digest text,
    given_digest text,
    attempts bigint NOT NULL DEFAULT 0,
    next_try_at timestamptz,
    stuck_since timestamptz,
    stuck_reason text,
    CHECK (state <> 'approved' OR ends_at IS NOT NULL)
);
CREATE INDEX access_grant_open ON access_grant (ends_at) WHERE state IN ('requested', 'approved');
CREATE INDEX access_grant_of_tenant ON access_grant (tenant_id, requested_at);
CREATE INDEX access_grant_of_ticket ON access_grant (ticket_id);

CREATE TABLE plan (
    grant_id text NOT NULL REFERENCES access_grant (id),
    digest text NOT NULL,
    document jsonb NOT NULL,
    literals jsonb,
    made_at timestamptz NOT NULL,
    PRIMARY KEY (grant_id, digest)
);

CREATE TABLE decision (
    id text PRIMARY KEY,
    grant_id text NOT NULL UNIQUE REFERENCES access_grant (id),
    person_id text NOT NULL REFERENCES person (id),
    verdict text NOT NULL CHECK (verdict IN ('approved', 'refused')),
    shown_digest text,
    given_digest text,
    note text,
    via text NOT NULL,
    at timestamptz NOT NULL
);

CREATE TABLE live_scope (
    name text PRIMARY KEY,
    database_id text NOT NULL REFERENCES tenant_database (id),
    planned_at timestamptz NOT NULL,
    made_at timestamptz,
    dropped_at timestamptz
);

CREATE TABLE lease (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    state text NOT NULL CHECK (state IN ('pending', 'issued', 'revoking', 'revoked')),
    state_at timestamptz NOT NULL,
    state_by text REFERENCES person (id),
    grant_id text NOT NULL REFERENCES access_grant (id),
    snapshot_id text,
    person_id text NOT NULL REFERENCES person (id),
    database_id text REFERENCES tenant_database (id),
    server_id text REFERENCES test_server (id),
    dbname text NOT NULL,
    role_name text NOT NULL UNIQUE,
    scope_name text NOT NULL,
    verifier text,
    ends_at timestamptz NOT NULL,
    login_refused_at timestamptz,
    last_session_dead_at timestamptz,
    role_gone_at timestamptz,
    attempts bigint NOT NULL DEFAULT 0,
    next_try_at timestamptz,
    stuck_since timestamptz,
    stuck_reason text,
    CHECK ((database_id IS NULL) <> (server_id IS NULL))
);
CREATE INDEX lease_open ON lease (ends_at) WHERE state IN ('pending', 'issued', 'revoking');
CREATE INDEX lease_of_grant ON lease (grant_id);
CREATE INDEX lease_of_scope ON lease (scope_name) WHERE state IN ('pending', 'issued', 'revoking');

CREATE TABLE snapshot (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    state text NOT NULL CHECK (state IN ('ordered', 'copying', 'ready', 'condemned', 'destroyed')),
    state_at timestamptz NOT NULL,
    state_by text REFERENCES person (id),
    grant_id text NOT NULL REFERENCES access_grant (id),
    database_id text NOT NULL REFERENCES tenant_database (id),
    server_id text NOT NULL REFERENCES test_server (id),
    requester_id text NOT NULL REFERENCES person (id),
    plan_digest text NOT NULL,
    ordered_at timestamptz NOT NULL,
    ready_at timestamptz,
    ends_at timestamptz NOT NULL,
    condemned_at timestamptz,
    condemned_why text,
    destroyed_at timestamptz,
    wrapped_key bytea,
    manifest_size bigint,
    manifest_sha256 text,
    progress jsonb NOT NULL,
    report jsonb,
    attempts bigint NOT NULL DEFAULT 0,
    next_try_at timestamptz,
    stuck_since timestamptz,
    stuck_reason text
);
CREATE INDEX snapshot_alive ON snapshot (ends_at) WHERE state IN ('ordered', 'copying', 'ready');
CREATE INDEX snapshot_due ON snapshot (next_try_at) WHERE next_try_at IS NOT NULL;
CREATE INDEX snapshot_of_grant ON snapshot (grant_id);

-- Condemned is one-way (G7), also for whoever writes SQL by hand.
CREATE FUNCTION check_snapshot_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'destroyed' AND NEW.state <> 'destroyed'
        OR OLD.state = 'condemned' AND NEW.state NOT IN ('condemned', 'destroyed') THEN
        RAISE EXCEPTION 'snapshot % is %; it can''t become %', OLD.id, OLD.state, NEW.state;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER snapshot_one_way BEFORE UPDATE OF state ON snapshot
    FOR EACH ROW EXECUTE FUNCTION check_snapshot_state();

-- The second barrier of G9: a state can't be committed without an entry about it in the same
-- transaction. `states.advance` is the first.
CREATE FUNCTION check_state_has_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM audit_entry WHERE txid = pg_current_xact_id() AND subject = NEW.id
    ) THEN
        RAISE EXCEPTION 'the state of % changed without an audit entry', NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER state_has_entry AFTER INSERT OR UPDATE OF state ON access_grant
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_state_has_entry();
CREATE CONSTRAINT TRIGGER state_has_entry AFTER INSERT OR UPDATE OF state ON lease
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_state_has_entry();
CREATE CONSTRAINT TRIGGER state_has_entry AFTER INSERT OR UPDATE OF state ON snapshot
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_state_has_entry();

CREATE TABLE inventory_item (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    snapshot_id text NOT NULL REFERENCES snapshot (id),
    kind text NOT NULL,
    place text NOT NULL,
    written_at timestamptz NOT NULL,
    UNIQUE (snapshot_id, kind, place)
);

CREATE TABLE look (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    snapshot_id text NOT NULL REFERENCES snapshot (id),
    kind text NOT NULL,
    place text NOT NULL,
    method text NOT NULL,
    found boolean NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX look_of_snapshot ON look (snapshot_id);

CREATE TABLE certificate (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    snapshot_id text NOT NULL UNIQUE REFERENCES snapshot (id),
    envelope bytea NOT NULL,
    issued_at timestamptz NOT NULL
);
CREATE INDEX certificate_of_tenant ON certificate (tenant_id, issued_at);

CREATE TABLE mail (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id text NOT NULL REFERENCES person (id),
    tenant_id text REFERENCES tenant (id),
    subject text NOT NULL,
    text text NOT NULL,
    invitation_id text REFERENCES invitation (id),
    attachment text,
    created_at timestamptz NOT NULL,
    sent_at timestamptz,
    attempts bigint NOT NULL DEFAULT 0,
    next_try_at timestamptz,
    stuck_since timestamptz,
    stuck_reason text
);
CREATE INDEX mail_due ON mail (next_try_at) WHERE sent_at IS NULL;

-- The scheduler that leads: its fencing number goes up with every change of leader.
CREATE TABLE scheduler_lead (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    holder text NOT NULL,
    fence bigint NOT NULL,
    until timestamptz NOT NULL
);

CREATE TABLE sweep_run (
    kind text PRIMARY KEY,
    at timestamptz NOT NULL,
    fence bigint NOT NULL,
    found bigint NOT NULL
);

-- What the janitor found on servers, in the store and in the keyring.
CREATE TABLE find (
    place text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    noun text NOT NULL CHECK (noun IN ('orphan', 'remnant', 'stranger')),
    subject text NOT NULL,
    tenant_id text REFERENCES tenant (id),
    facts jsonb NOT NULL,
    found_at timestamptz NOT NULL,
    over_at timestamptz,
    stuck_reason text,
    PRIMARY KEY (place, kind, name)
);
CREATE INDEX find_open ON find (place) WHERE over_at IS NULL;

GRANT USAGE ON SCHEMA public TO broker_app;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO broker_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO broker_app;
REVOKE UPDATE ON audit_entry, audit_opening, audit_checkpoint, decision, certificate,
    inventory_item, look FROM broker_app;
GRANT UPDATE (idx, leaf_hash) ON audit_entry TO broker_app;
GRANT DELETE ON role_permission, sign_in_attempt, audit_opening, ticket_hint TO broker_app;
-- Erasing a person (broker/erasing.py).
GRANT DELETE ON web_session, api_token, invitation, mail TO broker_app;
REVOKE UPDATE ON role_permission FROM broker_app;
