SELECT * FROM {v}
SELECT * FROM shop.customers
SELECT * FROM shop.everything
SELECT shop.count_all()
SELECT * FROM tenant_key
SELECT reference FROM {v} WHERE set_config('x.y', reference, false) <> 'zq'
SHOW x.y
SELECT reference FROM {v} WHERE pg_notify('c', reference) IS NOT NULL
SELECT 1 FROM {v} WHERE CAST(reference AS int) > 0
SELECT 1 FROM {v} WHERE reference::xml IS NULL
SELECT 1 FROM {v} WHERE reference::inet IS NULL
SELECT 1 FROM {v} WHERE reference::jsonb IS NULL
SELECT 1 FROM {v} WHERE to_tsquery(reference) IS NULL
SELECT 1 FROM {v} WHERE 1 / (id - 2) > 0
SELECT 1 FROM {v} WHERE pg_size_bytes(reference) > 0
SELECT 1 FROM {v} WHERE regexp_count(reference, '(' || reference) > 0
SELECT 1 FROM {v} ORDER BY CAST(reference AS date)
SELECT CAST(reference AS int) FROM {v}
SELECT max(reference) OVER (ORDER BY reference::int) FROM {v}
SELECT * FROM {v} a JOIN {v} b ON a.reference::int = b.id
SELECT query_to_xml('SELECT * FROM shop.customers', true, true, '')
SELECT query_to_xml('SELECT * FROM {v}', true, true, '')
SELECT database_to_xml(true, true, '')
SELECT schema_to_xml('shop', true, true, '')
SELECT table_to_xml('shop.customers', true, true, '')
SELECT ts_stat('SELECT to_tsvector(reference) FROM shop.customers')
EXPLAIN (VERBOSE, COSTS) SELECT * FROM {v} WHERE reference > 'zp'
EXPLAIN (ANALYZE, VERBOSE, BUFFERS) SELECT * FROM {v} WHERE reference > 'zp'
EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM orders
SELECT ctid, xmin, tableoid FROM {v}
SELECT * FROM {v} WHERE ctid = '(0,2)'
SELECT * FROM {v} TABLESAMPLE SYSTEM (100)
SELECT currtid2('shop.customers', '(0,2)')
SET app.tenant = 'zq1'
SELECT * FROM cases
SET row_security = off
SELECT * FROM cases
SET ROLE sab_reader
SET ROLE postgres
SET SESSION AUTHORIZATION postgres
SET search_path = shop, public
SELECT * FROM customers
SET search_path TO DEFAULT
CREATE TEMPORARY TABLE mine AS SELECT * FROM {v}
CREATE FUNCTION pg_temp.leak(text) RETURNS bool COST 0.0001 LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''%', $1; RETURN true; END'
CREATE OPERATOR pg_temp.=== (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text)
CREATE FUNCTION leak(text) RETURNS bool LANGUAGE sql AS 'SELECT true'
CREATE CAST (text AS integer) WITH INOUT
DO 'DECLARE r text; BEGIN FOR r IN SELECT reference FROM {v} LOOP RAISE NOTICE ''%', r; END LOOP; END'
DO 'DECLARE r text; BEGIN FOR r IN SELECT reference FROM shop.customers LOOP RAISE NOTICE ''%', r; END LOOP; END'
COPY (SELECT * FROM {v}) TO STDOUT
COPY shop.customers TO STDOUT
COPY shop.customers TO PROGRAM 'cat'
SELECT lo_get(oid) FROM pg_largeobject_metadata
SELECT lo_export(oid, 'x') FROM pg_largeobject_metadata
SELECT * FROM pg_largeobject
SELECT * FROM pg_statistic
SELECT * FROM pg_statistic_ext_data
SELECT most_common_vals, histogram_bounds FROM pg_stats
SELECT * FROM pg_stats_ext
SELECT last_value FROM shop.customers_id_seq
SELECT * FROM pg_sequences
SELECT nextval('shop.customers_id_seq')
SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint
SELECT query, application_name FROM pg_stat_activity
SELECT pg_export_snapshot()
SELECT * FROM pg_get_object_address('table', '{shop,customers}', '{}')
SELECT pg_read_file('base')
SELECT * FROM pg_ls_logdir()
SELECT dblink('dbname=x', 'SELECT 1')
SELECT * FROM pg_visible_in_snapshot(1::text::xid8, pg_current_snapshot())
SELECT pg_relation_filenode('shop.customers'), pg_relation_size('shop.customers')
SELECT * FROM heap_page_items(get_raw_page('shop.customers', 0))
SELECT pg_logical_slot_get_changes('x', NULL, NULL)
UPDATE {v} SET reference = 'x'
INSERT INTO {v} SELECT * FROM {v}
LOCK TABLE shop.customers
ANALYZE VERBOSE shop.customers
VACUUM VERBOSE shop.customers
ALTER VIEW {v} RESET (security_barrier)
CREATE OR REPLACE VIEW {v} AS SELECT * FROM shop.customers
CREATE MATERIALIZED VIEW m AS SELECT * FROM {v}
CREATE STATISTICS s ON id, reference FROM shop.customers
CREATE RULE r AS ON SELECT TO {v} DO INSTEAD SELECT 1
COMMENT ON VIEW {v} IS 'x'
GRANT SELECT ON shop.customers TO PUBLIC
