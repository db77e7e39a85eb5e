-- Every object that the migrations make in a schema, with its definition. Run with that schema first in the search path, so
-- that names in definitions are not qualified. $1: the schema; $2: the tables of the migrations.
WITH tables AS (
    SELECT oid, relname::text AS name, relrowsecurity, relowner FROM pg_class
    WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p') AND relname = ANY ($2::text[])
)
SELECT 'table ' || name AS object, 'row security ' || relrowsecurity AS definition FROM tables
UNION ALL
SELECT 'column ' || name || '.' || attname,
       format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' not null' ELSE '' END
           || coalesce(' default ' || pg_get_expr(adbin, adrelid), '') || CASE WHEN attidentity <> '' THEN ' identity' ELSE '' END
           || coalesce((SELECT ' collate ' || collname FROM pg_collation WHERE oid = attcollation AND collname <> 'default'), '')
FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
SELECT 'constraint ' || name || '.' || conname, pg_get_constraintdef(pg_constraint.oid)
FROM tables JOIN pg_constraint ON conrelid = tables.oid
UNION ALL
SELECT 'index ' || name || '.' || indexrelid::regclass::text, pg_get_indexdef(indexrelid)
FROM tables JOIN pg_index ON indrelid = tables.oid
UNION ALL
SELECT 'trigger ' || name || '.' || tgname, pg_get_triggerdef(pg_trigger.oid) || ' enabled ' || tgenabled::text
FROM tables JOIN pg_trigger ON tgrelid = tables.oid AND NOT tgisinternal
UNION ALL
SELECT 'policy ' || name || '.' || polname,
       polcmd::text || ' to ' || (SELECT string_agg(CASE role WHEN 0 THEN 'public' ELSE role::regrole::text END, ',' ORDER BY 1)
                            FROM unnest(polroles) AS role)
           || ' using ' || coalesce(pg_get_expr(polqual, polrelid), '') || ' check ' || coalesce(pg_get_expr(polwithcheck, polrelid), '')
FROM tables JOIN pg_policy ON polrelid = tables.oid
UNION ALL
SELECT 'grant ' || privilege_type || ' on ' || name || ' to ' || coalesce(nullif(grantee, 0)::regrole::text, 'public'), ''
FROM tables JOIN pg_class ON pg_class.oid = tables.oid CROSS JOIN LATERAL aclexplode(relacl)
WHERE grantee <> tables.relowner
UNION ALL
SELECT 'grant ' || privilege_type || ' on ' || name || '.' || attname || ' to ' || coalesce(nullif(grantee, 0)::regrole::text, 'public'), ''
FROM tables JOIN pg_attribute ON attrelid = tables.oid AND NOT attisdropped CROSS JOIN LATERAL aclexplode(attacl)
WHERE grantee <> tables.relowner
UNION ALL
SELECT 'function ' || proname || '(' || pg_get_function_identity_arguments(pg_proc.oid) || ')',
       pg_get_functiondef(pg_proc.oid) || coalesce((
           SELECT ' execute ' || string_agg(coalesce(nullif(grantee, 0)::regrole::text, 'public'), ',' ORDER BY grantee)
           FROM aclexplode(proacl) WHERE grantee <> proowner), '')
FROM pg_proc WHERE pronamespace = $1::regnamespace AND prokind = 'f' AND proname = ANY ($3::text[])
    -- What an extension put into the schema is its own business.
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND classid = 'pg_proc'::regclass AND deptype = 'e')
