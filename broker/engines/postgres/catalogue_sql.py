"""The questions that `catalogue.py` asks of pg_catalog, and of nothing else.

What must stay true: they run with search_path `pg_catalog, pg_temp`, so an unqualified name here is
PostgreSQL's own; they call no function of the tenant's, and read no table and no statistic.
`%(schemas)s` are the schemas that are read; temporary relations lie in others. What belongs to an
extension is left out: the copy gets it from the extension.
"""

from __future__ import annotations

from typing import Final

SCHEMAS: Final = """
SELECT nspname FROM pg_namespace
WHERE left(nspname, 3) <> 'pg_' AND left(nspname, 6) <> 'sab_s_'
  AND nspname <> 'information_schema'
"""

# A sub-partitioned root is a partition too: its key is its own and those above it.
TABLES: Final = """
WITH RECURSIVE above AS (
    SELECT inhrelid AS leaf, inhparent AS root FROM pg_inherits
    JOIN pg_class ON pg_class.oid = inhrelid AND relispartition
    UNION
    SELECT above.leaf, i.inhparent FROM above
    JOIN pg_inherits i ON i.inhrelid = above.root
    JOIN pg_class ON pg_class.oid = i.inhrelid AND relispartition
)
SELECT c.oid, n.nspname, c.relname,
    CASE WHEN c.relkind = 'p' THEN 'partitioned' WHEN c.relispartition THEN 'partition'
         ELSE 'table' END,
    pn.nspname, pc.relname,
    ARRAY(
        -- The key's columns, those in its expressions too, depend internally on the whole root.
        SELECT DISTINCT a.attname::text COLLATE "C" FROM pg_depend d
        JOIN pg_attribute a ON a.attrelid = d.objid AND a.attnum = d.objsubid
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
          AND d.objid = d.refobjid AND d.objsubid > 0 AND d.refobjsubid = 0 AND d.deptype = 'i'
          AND d.objid IN (SELECT c.oid UNION ALL SELECT root FROM above WHERE leaf = c.oid)
        ORDER BY 1
    ),
    greatest(c.reltuples, 0)::bigint,
    coalesce(pg_table_size(c.oid), 0),
    c.relrowsecurity,
    EXISTS (
        SELECT FROM above JOIN pg_class lc ON lc.oid = above.leaf
        JOIN pg_namespace ln ON ln.oid = lc.relnamespace
        WHERE above.root = c.oid AND ln.nspname <> ALL (%(schemas)s)
    )
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND c.relispartition
LEFT JOIN pg_class pc ON pc.oid = i.inhparent
LEFT JOIN pg_namespace pn ON pn.oid = pc.relnamespace
WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p')
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                  AND e.objid = c.oid AND e.deptype = 'e')
"""

# `chain` walks each domain down to what it is made of; the last step's typmod is the type's own.
COLUMNS: Final = """
WITH RECURSIVE chain AS (
    SELECT d.oid AS domain, d.typbasetype AS base, d.typtypmod AS typmod,
        d.typnotnull OR EXISTS (SELECT FROM pg_constraint k WHERE k.contypid = d.oid) AS rules
    FROM pg_type d WHERE d.typtype = 'd'
    UNION ALL
    SELECT chain.domain, d.typbasetype, d.typtypmod,
        chain.rules OR d.typnotnull
        OR EXISTS (SELECT FROM pg_constraint k WHERE k.contypid = d.oid)
    FROM chain JOIN pg_type d ON d.oid = chain.base AND d.typtype = 'd'
), typed AS (
    SELECT a.*, coalesce(ch.base, a.atttypid) AS base,
        CASE WHEN ch.domain IS NULL THEN a.atttypmod ELSE ch.typmod END AS typmod,
        ch.domain, coalesce(ch.rules, false) AS rules
    FROM pg_attribute a
    LEFT JOIN (SELECT chain.* FROM chain JOIN pg_type t ON t.oid = chain.base
               WHERE t.typtype <> 'd') ch ON ch.domain = a.atttypid
)
SELECT a.attrelid, a.attname,
    format_type(a.atttypid, a.atttypmod), format_type(a.base, NULL),
    CASE WHEN a.base IN ('varchar'::regtype, 'bpchar'::regtype) AND a.typmod > 4
         THEN a.typmod - 4 END,
    a.attnotnull, a.attgenerated <> '', a.attidentity <> '',
    a.atthasdef AND a.attgenerated = '',
    CASE WHEN a.domain IS NOT NULL THEN format_type(a.domain, NULL) END,
    a.rules,
    b.typtype = 'e',
    a.atttypid >= 16384  -- made after initdb: by the tenant or an extension
FROM typed a
JOIN pg_type b ON b.oid = a.base
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p')
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

# A CHECK on the whole row has 0 in its key: it reads every column. A foreign key to a partitioned
# table has one more row for each of its partitions; those are not the tenant's words.
CONSTRAINTS: Final = """
SELECT k.conrelid, k.conname,
    CASE k.contype WHEN 'f' THEN 'foreign' ELSE 'check' END,
    ARRAY(SELECT a.attname::text FROM pg_attribute a
          WHERE a.attrelid = k.conrelid AND a.attnum > 0 AND NOT a.attisdropped
            AND (a.attnum = ANY (k.conkey) OR 0 = ANY (k.conkey))
          ORDER BY array_position(k.conkey, a.attnum), a.attnum),
    tn.nspname, tc.relname,
    ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(attnum, place)
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum
          ORDER BY u.place),
    false
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class tc ON tc.oid = k.confrelid
LEFT JOIN pg_namespace tn ON tn.oid = tc.relnamespace
WHERE n.nspname = ANY (%(schemas)s) AND k.contype IN ('f', 'c')
  AND NOT EXISTS (SELECT FROM pg_constraint up
                  WHERE up.oid = k.conparentid AND up.conrelid = k.conrelid)
"""

# The columns that an index's expression or predicate reads are known by its dependencies. NULLS NOT
# DISTINCT (from 15 on) counts as an expression: it judges rows by more than equal columns.
UNIQUE_INDEXES: Final = """
SELECT x.indrelid, coalesce(k.conname, ic.relname),
    CASE k.contype WHEN 'p' THEN 'primary' WHEN 'x' THEN 'exclusion' ELSE 'unique' END,
    ARRAY(SELECT a.attname::text FROM pg_attribute a
          WHERE a.attrelid = x.indrelid AND a.attnum > 0 AND NOT a.attisdropped
            AND (a.attnum = ANY ((x.indkey::int2[])[0:x.indnkeyatts - 1])
                 OR computed.yes AND EXISTS (
                     SELECT FROM pg_depend d
                     WHERE d.classid = 'pg_class'::regclass AND d.objid = x.indexrelid
                       AND d.refclassid = 'pg_class'::regclass AND d.refobjid = x.indrelid
                       AND d.refobjsubid = a.attnum))
          ORDER BY array_position(x.indkey::int2[], a.attnum), a.attnum),
    NULL, NULL, ARRAY[]::text[],
    computed.yes OR coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false)
FROM pg_index x
JOIN pg_class ic ON ic.oid = x.indexrelid
JOIN pg_class c ON c.oid = x.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT x.indexprs IS NOT NULL OR x.indpred IS NOT NULL AS yes) computed
LEFT JOIN pg_constraint k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid
    AND k.contype IN ('p', 'u', 'x')
WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p')
  AND (x.indisunique OR k.contype = 'x')
"""

RELATIONS: Final = """
SELECT c.relkind, n.nspname || '.' || c.relname
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('v', 'm', 'S')
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                  AND e.objid = c.oid AND e.deptype = 'e')
"""

EXTENSIONS: Final = "SELECT extname FROM pg_extension"

# Each row is a sentence. What is an extension's own comes with it, and is no obstacle.
OBSTACLES: Final = """
WITH owned AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
SELECT n.nspname || '.' || c.relname
    || ' is a foreign table: its rows lie on another server and are not copied'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%(schemas)s) AND c.relkind = 'f'
UNION ALL
SELECT n.nspname || '.' || c.relname
    || ' has row security: our login sees all its rows or the copy is refused'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p') AND c.relrowsecurity
UNION ALL
SELECT n.nspname || '.' || c.relname || '.' || a.attname
    || ' is computed at every read by code of the tenant; it is never read'
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p') AND a.attgenerated = 'v'
UNION ALL
SELECT n.nspname || '.' || c.relname || ' belongs to the extension ' || e.extname
    || ', which may keep rows of the tenant in it; they are not copied'
FROM pg_extension e
JOIN pg_class c ON c.oid = ANY (e.extconfig)
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
UNION ALL
SELECT n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid)
    || ') is written in ' || l.lanname || ', which only a superuser may create'
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_language l ON l.oid = p.prolang
WHERE n.nspname = ANY (%(schemas)s) AND NOT l.lanpltrusted
  AND p.prokind <> 'a'
  AND NOT EXISTS (SELECT FROM owned WHERE classid = 'pg_proc'::regclass AND objid = p.oid)
UNION ALL
SELECT n.nspname || '.' || t.typname || ' is a base type, which only a superuser may create'
FROM pg_type t
JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = ANY (%(schemas)s) AND t.typtype = 'b'
  AND NOT EXISTS (SELECT FROM pg_type element WHERE element.typarray = t.oid)
  AND NOT EXISTS (SELECT FROM owned WHERE classid = 'pg_type'::regclass AND objid = t.oid)
UNION ALL
SELECT 'the event trigger ' || evtname || ' can be made by a superuser only, and is left out'
FROM pg_event_trigger e
WHERE NOT EXISTS (SELECT FROM owned
                  WHERE classid = 'pg_event_trigger'::regclass AND objid = e.oid)
UNION ALL
SELECT 'there are ' || count(*) || ' large objects; they are not copied'
FROM pg_largeobject_metadata HAVING count(*) > 0
"""

# (kind, where, text). Code that a trigger or a rule fires counts as `function` and `view`; an
# object of extended statistics as `index`: they may hold literals just so.
LITERALS: Final = """
WITH owned AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
relations AS (
    SELECT c.oid, c.relkind, c.relispartition, c.relpartbound,
        n.nspname || '.' || c.relname AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY (%(schemas)s)
      AND NOT EXISTS (SELECT FROM owned WHERE classid = 'pg_class'::regclass AND objid = c.oid)
), types AS (
    SELECT t.*, n.nspname || '.' || t.typname AS name
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE n.nspname = ANY (%(schemas)s)
      AND NOT EXISTS (SELECT FROM owned WHERE classid = 'pg_type'::regclass AND objid = t.oid)
)
SELECT 'default', r.name || '.' || a.attname, pg_get_expr(d.adbin, d.adrelid)
FROM relations r
JOIN pg_attrdef d ON d.adrelid = r.oid
JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
UNION ALL
SELECT 'default', name, typdefault FROM types WHERE typtype = 'd' AND typdefault IS NOT NULL
UNION ALL
SELECT 'check', r.name || ': ' || k.conname, pg_get_constraintdef(k.oid)
FROM relations r JOIN pg_constraint k ON k.conrelid = r.oid AND k.contype = 'c'
UNION ALL
SELECT 'check', t.name || ': ' || k.conname, pg_get_constraintdef(k.oid)
FROM types t JOIN pg_constraint k ON k.contypid = t.oid AND k.contype = 'c'
UNION ALL
SELECT 'enum', t.name, e.enumlabel FROM types t JOIN pg_enum e ON e.enumtypid = t.oid
UNION ALL
SELECT 'view', name, pg_get_viewdef(oid) FROM relations WHERE relkind IN ('v', 'm')
UNION ALL
SELECT 'view', 'rule ' || w.rulename || ' on ' || r.name, pg_get_ruledef(w.oid)
FROM relations r JOIN pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN'
UNION ALL
SELECT 'function',
    n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
    pg_get_functiondef(p.oid)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = ANY (%(schemas)s) AND p.prokind <> 'a'
  AND NOT EXISTS (SELECT FROM owned WHERE classid = 'pg_proc'::regclass AND objid = p.oid)
UNION ALL
SELECT 'function', 'trigger ' || t.tgname || ' on ' || r.name, pg_get_triggerdef(t.oid)
FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
UNION ALL
SELECT 'bound', name, pg_get_expr(relpartbound, oid) FROM relations WHERE relispartition
    AND relkind IN ('r', 'p', 'f')
UNION ALL
SELECT 'index', r.name, pg_get_indexdef(x.indexrelid)
FROM relations r JOIN pg_index x ON x.indexrelid = r.oid
WHERE x.indexprs IS NOT NULL OR x.indpred IS NOT NULL
UNION ALL
SELECT 'index', r.name || ': ' || s.stxname, pg_get_statisticsobjdef(s.oid)
FROM relations r JOIN pg_statistic_ext s ON s.stxrelid = r.oid AND s.stxexprs IS NOT NULL
UNION ALL
SELECT 'policy', r.name || ': ' || p.polname, concat_ws(' WITH CHECK ',
    pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
FROM relations r JOIN pg_policy p ON p.polrelid = r.oid
"""
