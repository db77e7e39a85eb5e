-- Events are written by triggers: whoever changes a canonical row, by whatever tool, cannot forget or misstate its event.

-- partition_key is what order is kept within: one document, as topic:id. sequence is the version of its canonical row, which
-- is raised under that row's lock, so a key's events commit in the order of their sequence and cost no lock of their own.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_key text NOT NULL UNIQUE,
    topic text NOT NULL,
    partition_key text NOT NULL,
    sequence bigint NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    processed_at timestamptz,
    retry_count integer NOT NULL DEFAULT 0 CHECK (retry_count >= 0),
    next_retry_at timestamptz,
    max_retries integer NOT NULL DEFAULT 10 CHECK (max_retries >= 0),
    last_error text,
    UNIQUE (partition_key, sequence)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.05);

-- The claim: the oldest that wait, and for each of them the first of its key.
CREATE INDEX outbox_waiting ON outbox (id) WHERE processed_at IS NULL;
CREATE INDEX outbox_first_of_key ON outbox (partition_key, sequence) WHERE processed_at IS NULL;
-- Retention, and the rate.
CREATE INDEX outbox_relayed ON outbox (processed_at) WHERE processed_at IS NOT NULL;

CREATE FUNCTION outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('feedmill_outbox', '');
    RETURN NULL;
END $$;

CREATE TRIGGER wake AFTER INSERT ON outbox EXECUTE FUNCTION outbox_wake();

-- How far a snapshot of what was there before the outbox has come.
CREATE TABLE outbox_snapshots (
    source text PRIMARY KEY,
    last_row jsonb,
    rows_read bigint NOT NULL DEFAULT 0,
    finished_at timestamptz
);

CREATE FUNCTION document_time(moment timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- The events of a row as it is now, one for each document it has. Personal text leaves a withdrawn document.
CREATE FUNCTION outbox_events(changed profiles) RETURNS TABLE (topic text, key text, version bigint, payload jsonb)
LANGUAGE sql STABLE AS $$
    SELECT 'profile', changed.user_id::text, changed.version, jsonb_strip_nulls(jsonb_build_object(
        'userId', changed.user_id,
        'displayName', CASE WHEN changed.deleted_at IS NULL THEN changed.display_name END,
        'bio', CASE WHEN changed.deleted_at IS NULL THEN changed.bio END,
        'createdAt', document_time(changed.created_at), 'updatedAt', document_time(changed.updated_at),
        'deletedAt', document_time(changed.deleted_at), 'version', changed.version))
$$;

CREATE FUNCTION outbox_events(changed posts) RETURNS TABLE (topic text, key text, version bigint, payload jsonb)
LANGUAGE sql STABLE AS $$
    SELECT 'post', changed.post_id::text, changed.version, jsonb_strip_nulls(jsonb_build_object(
        'postId', changed.post_id, 'authorId', changed.author_id, 'replyToPostId', changed.reply_to_post_id,
        'text', CASE WHEN changed.deleted_at IS NULL THEN changed.body END, 'status', changed.status,
        'createdAt', document_time(changed.created_at), 'updatedAt', document_time(changed.updated_at),
        'deletedAt', document_time(changed.deleted_at), 'version', changed.version))
$$;

CREATE FUNCTION outbox_events(changed follows) RETURNS TABLE (topic text, key text, version bigint, payload jsonb)
LANGUAGE sql STABLE AS $$
    SELECT 'follow', changed.followee_id || ':' || changed.follower_id, changed.version,
        jsonb_strip_nulls(jsonb_build_object(
            'followeeId', changed.followee_id, 'followerId', changed.follower_id, 'muted', changed.muted,
            'createdAt', document_time(changed.created_at), 'updatedAt', document_time(changed.updated_at),
            'deletedAt', document_time(changed.deleted_at), 'version', changed.version))
$$;

CREATE FUNCTION outbox_events(changed block_pairs) RETURNS TABLE (topic text, key text, version bigint, payload jsonb)
LANGUAGE sql STABLE AS $$
    SELECT 'block', side.user_id || ':' || side.other_id, changed.version, jsonb_strip_nulls(jsonb_build_object(
        'userId', side.user_id, 'otherId', side.other_id,
        'createdAt', document_time(changed.created_at), 'updatedAt', document_time(changed.updated_at),
        'deletedAt', document_time(changed.deleted_at), 'version', changed.version))
    FROM (VALUES (changed.low_id, changed.high_id), (changed.high_id, changed.low_id)) AS side (user_id, other_id)
$$;

CREATE FUNCTION outbox_events(changed reactions) RETURNS TABLE (topic text, key text, version bigint, payload jsonb)
LANGUAGE sql STABLE AS $$
    SELECT 'reaction', changed.post_id || ':' || changed.user_id, changed.version,
        jsonb_strip_nulls(jsonb_build_object(
            'postId', changed.post_id, 'userId', changed.user_id, 'type', changed.type,
            'createdAt', document_time(changed.created_at), 'updatedAt', document_time(changed.updated_at),
            'deletedAt', document_time(changed.deleted_at), 'version', changed.version))
$$;

CREATE FUNCTION outbox_emit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO outbox (event_key, topic, partition_key, sequence, payload)
    SELECT event.topic || ':' || event.key || ':' || event.version, event.topic, event.topic || ':' || event.key,
           event.version, event.payload
    FROM outbox_events(NEW) AS event;
    RETURN NULL;
END $$;

CREATE TRIGGER emit AFTER INSERT OR UPDATE ON profiles FOR EACH ROW EXECUTE FUNCTION outbox_emit();
CREATE TRIGGER emit AFTER INSERT OR UPDATE ON posts FOR EACH ROW EXECUTE FUNCTION outbox_emit();
CREATE TRIGGER emit AFTER INSERT OR UPDATE ON follows FOR EACH ROW EXECUTE FUNCTION outbox_emit();
CREATE TRIGGER emit AFTER INSERT OR UPDATE ON block_pairs FOR EACH ROW EXECUTE FUNCTION outbox_emit();
CREATE TRIGGER emit AFTER INSERT OR UPDATE ON reactions FOR EACH ROW EXECUTE FUNCTION outbox_emit();
