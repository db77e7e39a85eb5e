-- Who may do what. The roles cannot log in; a deployment grants them to the logins it makes.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['feedmill_app', 'feedmill_relay', 'feedmill_admin'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            -- Roles belong to the whole server: another database has made it.
            NULL;
        END;
    END LOOP;
END $$;

-- What the relay has put into Cosmos, for moderators.
CREATE TABLE posts_admin_mirror (
    post_id uuid PRIMARY KEY,
    author_id uuid NOT NULL,
    status text NOT NULL,
    document jsonb NOT NULL,
    version bigint NOT NULL,
    mirrored_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX posts_admin_mirror_by_author ON posts_admin_mirror (author_id);

-- The relay mirrors without being able to read what it mirrors.
CREATE FUNCTION mirror_posts(documents jsonb[]) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    INSERT INTO posts_admin_mirror AS mirror (post_id, author_id, status, document, version)
    SELECT DISTINCT ON (1) (document ->> 'postId')::uuid, (document ->> 'authorId')::uuid, document ->> 'status', document,
           (document ->> 'version')::bigint
    FROM unnest(documents) AS document
    ORDER BY 1, 5 DESC
    ON CONFLICT (post_id) DO UPDATE SET
        author_id = excluded.author_id, status = excluded.status, document = excluded.document,
        version = excluded.version, mirrored_at = excluded.mirrored_at
    WHERE mirror.version < excluded.version
$$;

-- A function that runs as its owner must not look into a schema that its caller chose.
DO $$
DECLARE
    definer regprocedure;
BEGIN
    FOR definer IN SELECT oid FROM pg_proc WHERE prosecdef AND pronamespace = current_schema()::regnamespace
        AND proname IN ('follow_knows_mute', 'mute_reaches_follow', 'block_reaches_pair', 'outbox_emit', 'mirror_posts')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', definer, current_schema());
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', definer);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE ON users, profiles, posts, follows, reactions TO feedmill_app;
GRANT SELECT, INSERT, DELETE ON mutes, blocks TO feedmill_app;

GRANT SELECT, DELETE ON outbox TO feedmill_relay;
GRANT UPDATE (processed_at, retry_count, next_retry_at, last_error) ON outbox TO feedmill_relay;
GRANT EXECUTE ON FUNCTION mirror_posts(jsonb[]) TO feedmill_relay;

GRANT SELECT ON users, profiles, posts, follows, mutes, blocks, block_pairs, reactions, outbox, posts_admin_mirror
    TO feedmill_admin;
-- To repair a document its row is touched; to load what was there before, events are inserted.
GRANT UPDATE ON users, profiles, posts, follows, block_pairs, reactions TO feedmill_admin;
GRANT INSERT ON outbox TO feedmill_admin;
GRANT UPDATE (processed_at, retry_count, next_retry_at, last_error) ON outbox TO feedmill_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_snapshots TO feedmill_admin;

-- The application says on whose behalf it acts: SET LOCAL feedmill.user_id = '…'.
CREATE FUNCTION acting_user() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('feedmill.user_id', true), '')::uuid
$$;

ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY users_themselves ON users TO feedmill_app
    USING (user_id = acting_user()) WITH CHECK (user_id = acting_user());
CREATE POLICY users_admin ON users TO feedmill_admin USING (true) WITH CHECK (true);

ALTER TABLE profiles ENABLE ROW LEVEL SECURITY;
CREATE POLICY profiles_readable ON profiles FOR SELECT TO feedmill_app
    USING (deleted_at IS NULL OR user_id = acting_user());
CREATE POLICY profiles_made_by_oneself ON profiles FOR INSERT TO feedmill_app WITH CHECK (user_id = acting_user());
CREATE POLICY profiles_changed_by_oneself ON profiles FOR UPDATE TO feedmill_app
    USING (user_id = acting_user()) WITH CHECK (user_id = acting_user());
CREATE POLICY profiles_admin ON profiles TO feedmill_admin USING (true) WITH CHECK (true);

ALTER TABLE posts_admin_mirror ENABLE ROW LEVEL SECURITY;
CREATE POLICY mirror_admin ON posts_admin_mirror FOR SELECT TO feedmill_admin USING (true);

ALTER TABLE outbox_snapshots ENABLE ROW LEVEL SECURITY;
CREATE POLICY snapshots_admin ON outbox_snapshots TO feedmill_admin USING (true) WITH CHECK (true);
