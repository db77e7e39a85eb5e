-- From a document back to its row, for what compares them.

-- Null for what PostgreSQL would not write like this: such a document is of no row.
CREATE FUNCTION document_uuid(field text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN field ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' THEN field::uuid END
$$;

-- Whether a document of this topic has a row, withdrawn ones included. Null: nobody knows such documents.
CREATE FUNCTION outbox_has_row(topic text, document jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT CASE topic
        WHEN 'profile' THEN EXISTS (SELECT FROM profiles WHERE user_id = document_uuid(document ->> 'userId'))
        WHEN 'post' THEN EXISTS (SELECT FROM posts WHERE post_id = document_uuid(document ->> 'postId'))
        WHEN 'follow' THEN EXISTS (
            SELECT FROM follows WHERE followee_id = document_uuid(document ->> 'followeeId')
                AND follower_id = document_uuid(document ->> 'followerId'))
        WHEN 'block' THEN EXISTS (
            SELECT FROM block_pairs
            WHERE low_id = least(document_uuid(document ->> 'userId'), document_uuid(document ->> 'otherId'))
                AND high_id = greatest(document_uuid(document ->> 'userId'), document_uuid(document ->> 'otherId')))
        WHEN 'reaction' THEN EXISTS (
            SELECT FROM reactions WHERE post_id = document_uuid(document ->> 'postId')
                AND user_id = document_uuid(document ->> 'userId'))
    END
$$;
