-- Rows of a small year in the control database's first form: every state that a thing can be in.
-- {plan} is a plan's document and {digest} its digest; ids are plain and invented.

INSERT INTO tenant VALUES ('tnt_1', 'Sample Foods', 'cust-1', 'broker.test/log/one', now() - interval '1 year');
INSERT INTO person (id, side, name, email, address_key, address_fold, created_at)
SELECT id, side, name, name || '@' || side || '.test', name || '@' || side || '.test',
       name || '@' || side || '.test', now() - interval '1 year'
  FROM (VALUES ('psn_admin', 'tenant', 'ada'), ('psn_eng', 'vendor', 'erin'),
               ('psn_op', 'vendor', 'olga')) AS p (id, side, name);
INSERT INTO membership (person_id, side, tenant_id, role, name, email, created_at)
SELECT id, side, CASE side WHEN 'tenant' THEN 'tnt_1' END,
       CASE id WHEN 'psn_admin' THEN 'admin' WHEN 'psn_eng' THEN 'engineer' ELSE 'operator' END,
       name, email, created_at FROM person;
INSERT INTO audit_log VALUES ('log_1', 'tnt_1', 'broker.test/log/one', 0, '{}');
INSERT INTO tenant_database (id, tenant_id, name, host, port, dbname, login, sealed_password, schemas,
                             registered_at)
VALUES ('dbs_1', 'tnt_1', 'CRM', 'db.test', 5432, 'crm', 'sab', '\x00', '{crm}', now());
INSERT INTO test_server (id, name, host, port, login, sealed_password, registered_at)
VALUES ('srv_1', 'one', 'test.test', 5432, 'sab', '\x00', now());
INSERT INTO ticket (id, tenant_id, system, external_id, title, open, seen_at)
VALUES ('tkt_1', 'tnt_1', 'generic', 'T-1', 'Totals are wrong', true, now());

INSERT INTO access_grant (id, tenant_id, state, state_at, state_by, database_id, ticket_id, requester_id,
    category, reason, requested_at, lapses_at, asked_live_s, asked_copy_s, given_live_s, given_copy_s,
    live_until, copy_until, ends_at, end_reason, asked_digest, given_digest)
SELECT id, 'tnt_1', state, at, CASE state WHEN 'requested' THEN NULL ELSE 'psn_admin' END, 'dbs_1', 'tkt_1',
    'psn_eng', 'incident', 'the totals of three orders are wrong', at, at + interval '12 hours', 3600, 86400,
    CASE WHEN given THEN 3600 ELSE 0 END, CASE WHEN given THEN 86400 ELSE 0 END,
    CASE WHEN given THEN at + interval '1 hour' END, CASE WHEN given THEN at + interval '1 day' END,
    CASE WHEN given THEN at + interval '1 day' END,
    CASE state WHEN 'ended' THEN 'the ticket has ended' END,
    '{digest}', CASE WHEN given THEN '{digest}' END
  FROM (VALUES ('grt_asked', 'requested', now(), false), ('grt_open', 'approved', now(), true),
               ('grt_over', 'approved', now() - interval '2 days', true),
               ('grt_no', 'refused', now() - interval '9 days', false),
               ('grt_past', 'ended', now() - interval '9 days', true)) AS g (id, state, at, given);
INSERT INTO plan SELECT id, '{digest}', '{plan}', NULL, requested_at FROM access_grant;
INSERT INTO decision (id, grant_id, person_id, verdict, shown_digest, given_digest, via, at)
SELECT 'dec_' || id, id, 'psn_admin', CASE state WHEN 'refused' THEN 'refused' ELSE 'approved' END,
    asked_digest, given_digest, 'password', state_at
  FROM access_grant WHERE state <> 'requested';

INSERT INTO lease (id, tenant_id, state, state_at, grant_id, person_id, database_id, dbname, role_name,
    scope_name, verifier, ends_at, role_gone_at)
SELECT 'lse_' || state, 'tnt_1', state, now(), CASE state WHEN 'revoked' THEN 'grt_past' ELSE 'grt_open' END,
    'psn_eng', 'dbs_1', 'crm', 'sab_l_' || state, 'sab_s_000000000000', 'SCRAM-SHA-256$x',
    now() + interval '1 hour', CASE state WHEN 'revoked' THEN now() END
  FROM unnest('{pending,issued,revoking,revoked}'::text[]) AS s (state);
INSERT INTO snapshot (id, tenant_id, state, state_at, grant_id, database_id, server_id, requester_id,
    plan_digest, ordered_at, ends_at, condemned_at, condemned_why, destroyed_at, progress)
SELECT 'snp_' || state, 'tnt_1', state, now(),
    CASE WHEN state IN ('ready', 'ordered', 'copying') THEN 'grt_open' ELSE 'grt_past' END,
    'dbs_1', 'srv_1', 'psn_eng', '{digest}', now(), now() + interval '1 day',
    CASE WHEN state IN ('condemned', 'destroyed') THEN now() END,
    CASE WHEN state IN ('condemned', 'destroyed') THEN 'the ticket has ended' END,
    CASE state WHEN 'destroyed' THEN now() END, '{}'
  FROM unnest('{ordered,copying,ready,condemned,destroyed}'::text[]) AS s (state);
INSERT INTO inventory_item (snapshot_id, kind, place, written_at)
SELECT id, 'artifact', 'snapshots/' || id || '/', now() FROM snapshot;
INSERT INTO look (snapshot_id, kind, place, method, found, at)
VALUES ('snp_destroyed', 'key erased', 'keyring', 'asked', false, now());
INSERT INTO certificate VALUES ('crt_1', 'tnt_1', 'snp_destroyed', '\x7b7d', now());
INSERT INTO audit_entry (log_id, subject, entry)
SELECT 'log_1', id, convert_to('{"n":"' || id || '"}', 'UTF8') FROM access_grant ORDER BY id;
