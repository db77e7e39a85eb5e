-- What a repair withdraws is no post of ours and may have any shape. The mirror has no copy of it, so there is nothing to
-- withdraw there either: such a withdrawal is passed over. A live document of that shape is still refused, and its event fails.
CREATE OR REPLACE FUNCTION mirror_posts(documents jsonb[]) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    INSERT INTO posts_admin_mirror AS mirror (post_id, author_id, status, document, version)
    SELECT DISTINCT ON (1) (document ->> 'postId')::uuid, (document ->> 'authorId')::uuid, document ->> 'status', document,
           (document ->> 'version')::bigint
    FROM unnest(documents) AS document
    WHERE document ->> 'deletedAt' IS NULL
        OR (document_uuid(lower(document ->> 'postId')) IS NOT NULL AND document_uuid(lower(document ->> 'authorId')) IS NOT NULL
            AND document ->> 'status' IS NOT NULL)
    ORDER BY 1, 5 DESC
    ON CONFLICT (post_id) DO UPDATE SET
        author_id = excluded.author_id, status = excluded.status, document = excluded.document,
        version = excluded.version, mirrored_at = excluded.mirrored_at
    WHERE mirror.version < excluded.version
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION mirror_posts(jsonb[]) SET search_path = %I, pg_temp', current_schema());
END $$;
