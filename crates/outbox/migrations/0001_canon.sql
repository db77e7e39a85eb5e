-- The canonical tables. A row is withdrawn (deleted_at), never deleted: one that came back under the same key would begin
-- again at version 1, and readers of its document would take it for an older one.

CREATE EXTENSION IF NOT EXISTS citext;

CREATE TABLE users (
    user_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email citext NOT NULL UNIQUE CHECK (email LIKE '_%@_%'),
    provider text NOT NULL CHECK (provider IN ('password', 'google', 'apple', 'microsoft')),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'deleted')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at timestamptz,
    version bigint NOT NULL DEFAULT 1 CHECK (version > 0)
);

CREATE TABLE profiles (
    user_id uuid PRIMARY KEY REFERENCES users,
    display_name text NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 50),
    bio text NOT NULL DEFAULT '' CHECK (char_length(bio) <= 500),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at timestamptz,
    version bigint NOT NULL DEFAULT 1 CHECK (version > 0)
);

-- reply_to_post_id has no foreign key: a reply may outlive, or be imported before, what it answers.
CREATE TABLE posts (
    post_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    author_id uuid NOT NULL REFERENCES users,
    reply_to_post_id uuid CHECK (reply_to_post_id <> post_id),
    body text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'published' CHECK (status IN ('published', 'hidden', 'removed')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at timestamptz,
    version bigint NOT NULL DEFAULT 1 CHECK (version > 0)
);
CREATE INDEX posts_by_author ON posts (author_id, created_at DESC);

-- muted is not the application's to write: it mirrors the mutes, so that an edge and its document have one version.
CREATE TABLE follows (
    followee_id uuid NOT NULL REFERENCES users,
    follower_id uuid NOT NULL REFERENCES users,
    muted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at timestamptz,
    version bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    PRIMARY KEY (followee_id, follower_id),
    CONSTRAINT no_self_follow CHECK (followee_id <> follower_id)
);
CREATE INDEX follows_by_follower ON follows (follower_id, followee_id);

CREATE TABLE mutes (
    user_id uuid NOT NULL REFERENCES users,
    muted_id uuid NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, muted_id),
    CONSTRAINT no_self_mute CHECK (user_id <> muted_id)
);

CREATE TABLE blocks (
    blocker_id uuid NOT NULL REFERENCES users,
    blocked_id uuid NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (blocker_id, blocked_id),
    CONSTRAINT no_self_block CHECK (blocker_id <> blocked_id)
);

-- Whichever side blocks, both sides' documents exist while at least one does. One row for the pair gives them one version.
CREATE TABLE block_pairs (
    low_id uuid NOT NULL,
    high_id uuid NOT NULL,
    low_blocks boolean NOT NULL DEFAULT false,
    high_blocks boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at timestamptz,
    version bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    PRIMARY KEY (low_id, high_id),
    CONSTRAINT ordered CHECK (low_id < high_id)
);

CREATE TABLE reactions (
    post_id uuid NOT NULL REFERENCES posts,
    user_id uuid NOT NULL REFERENCES users,
    type text NOT NULL CHECK (type IN ('like', 'love', 'laugh', 'wow', 'sad', 'angry')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at timestamptz,
    version bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    PRIMARY KEY (post_id, user_id)
);

-- Raises the version in the statement that changes the row, so under the row's lock: versions of a row are in commit order,
-- whatever order the outbox gets. Arguments: the columns that may never change.
-- feedmill.version_floor lets a repair continue above a version that this database has forgotten (a restored backup).
CREATE FUNCTION canonical_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    floor bigint := coalesce(nullif(current_setting('feedmill.version_floor', true), '')::bigint, 0);
    identity text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.version := floor + 1;
        RETURN NEW;
    END IF;
    FOREACH identity IN ARRAY TG_ARGV LOOP
        IF to_jsonb(NEW) -> identity IS DISTINCT FROM to_jsonb(OLD) -> identity THEN
            RAISE EXCEPTION '%.% never changes', TG_TABLE_NAME, identity USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END LOOP;
    NEW.version := greatest(OLD.version, floor) + 1;
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE TRIGGER canonical_row BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION canonical_row('user_id');
CREATE TRIGGER canonical_row BEFORE INSERT OR UPDATE ON profiles FOR EACH ROW EXECUTE FUNCTION canonical_row('user_id');
CREATE TRIGGER canonical_row BEFORE INSERT OR UPDATE ON posts FOR EACH ROW
    EXECUTE FUNCTION canonical_row('post_id', 'author_id', 'reply_to_post_id');
CREATE TRIGGER canonical_row BEFORE INSERT OR UPDATE ON follows FOR EACH ROW
    EXECUTE FUNCTION canonical_row('followee_id', 'follower_id');
CREATE TRIGGER canonical_row BEFORE INSERT OR UPDATE ON block_pairs FOR EACH ROW
    EXECUTE FUNCTION canonical_row('low_id', 'high_id');
CREATE TRIGGER canonical_row BEFORE INSERT OR UPDATE ON reactions FOR EACH ROW
    EXECUTE FUNCTION canonical_row('post_id', 'user_id');

CREATE FUNCTION refuse_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are withdrawn, not deleted', TG_TABLE_NAME
        USING HINT = 'set deleted_at; to erase personal data overwrite it in the same statement';
END $$;

CREATE TRIGGER refuse_delete BEFORE DELETE OR TRUNCATE ON users EXECUTE FUNCTION refuse_delete();
CREATE TRIGGER refuse_delete BEFORE DELETE OR TRUNCATE ON profiles EXECUTE FUNCTION refuse_delete();
CREATE TRIGGER refuse_delete BEFORE DELETE OR TRUNCATE ON posts EXECUTE FUNCTION refuse_delete();
CREATE TRIGGER refuse_delete BEFORE DELETE OR TRUNCATE ON follows EXECUTE FUNCTION refuse_delete();
CREATE TRIGGER refuse_delete BEFORE DELETE OR TRUNCATE ON block_pairs EXECUTE FUNCTION refuse_delete();
CREATE TRIGGER refuse_delete BEFORE DELETE OR TRUNCATE ON reactions EXECUTE FUNCTION refuse_delete();

-- A new edge and a new mute of the same pair do not see each other before one commits, so they take turns.
CREATE FUNCTION edge_lock(follower uuid, followee uuid) RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('mute:' || follower || ':' || followee, 0))
$$;

CREATE FUNCTION follow_knows_mute() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM edge_lock(NEW.follower_id, NEW.followee_id);
    END IF;
    NEW.muted := EXISTS (SELECT FROM mutes WHERE user_id = NEW.follower_id AND muted_id = NEW.followee_id);
    RETURN NEW;
END $$;

CREATE TRIGGER knows_mute BEFORE INSERT OR UPDATE ON follows FOR EACH ROW EXECUTE FUNCTION follow_knows_mute();

CREATE FUNCTION mute_reaches_follow() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    mute mutes := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM edge_lock(mute.user_id, mute.muted_id);
    UPDATE follows SET muted = muted WHERE follower_id = mute.user_id AND followee_id = mute.muted_id;
    RETURN NULL;
END $$;

CREATE TRIGGER reaches_follow AFTER INSERT OR DELETE ON mutes FOR EACH ROW EXECUTE FUNCTION mute_reaches_follow();

CREATE FUNCTION block_reaches_pair() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    block blocks := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    low_side boolean := block.blocker_id < block.blocked_id;
    blocks_now boolean := TG_OP = 'INSERT';
BEGIN
    INSERT INTO block_pairs AS pair (low_id, high_id, low_blocks, high_blocks)
    VALUES (least(block.blocker_id, block.blocked_id), greatest(block.blocker_id, block.blocked_id),
            low_side AND blocks_now, NOT low_side AND blocks_now)
    ON CONFLICT (low_id, high_id) DO UPDATE SET
        low_blocks = CASE WHEN low_side THEN blocks_now ELSE pair.low_blocks END,
        high_blocks = CASE WHEN low_side THEN pair.high_blocks ELSE blocks_now END,
        deleted_at = CASE WHEN blocks_now OR CASE WHEN low_side THEN pair.high_blocks ELSE pair.low_blocks END
                          THEN NULL ELSE clock_timestamp() END;
    RETURN NULL;
END $$;

CREATE TRIGGER reaches_pair AFTER INSERT OR DELETE ON blocks FOR EACH ROW EXECUTE FUNCTION block_reaches_pair();

CREATE FUNCTION refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are inserted and deleted, never changed', TG_TABLE_NAME;
END $$;

CREATE TRIGGER refuse_update BEFORE UPDATE OR TRUNCATE ON mutes EXECUTE FUNCTION refuse_update();
CREATE TRIGGER refuse_update BEFORE UPDATE OR TRUNCATE ON blocks EXECUTE FUNCTION refuse_update();
