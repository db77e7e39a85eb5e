//! Where a person may be, as single-partition questions where the key allows it.

use feedmill_documents::{IdError, containers, id};
use feedmill_store_api::{PartitionKey, Query, Scope};

use crate::Role;

/// One question to one container. Each row has `id`, its key as `k`, and `deletedAt`, `ttl`, `_ts`, `state`, `chunk`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) container: String,
    pub(crate) role: Role,
    pub(crate) scope: Scope,
    pub(crate) query: Query,
}

/// A place in one partition, or with a condition on all.
enum Where {
    Key,
    Field(&'static str),
}

impl Place {
    fn new(container: &str, role: Role, key: &str, user: &str, place: &Where) -> Self {
        let rows = format!("SELECT c.id, c.{key} AS k, c.deletedAt, c.ttl, c._ts FROM c");
        let (scope, query) = match place {
            Where::Key => (Scope::Partition(PartitionKey::from(user)), Query::new(rows)),
            Where::Field(field) => {
                (Scope::Container, Query::new(format!("{rows} WHERE c.{field} = @user")).with("@user", user))
            }
        };
        Self { container: container.to_owned(), role, scope, query }
    }
}

/// Sources that name the person.
pub(crate) fn sources(user: &str) -> Vec<Place> {
    use Where::{Field, Key};
    let places = [
        (containers::PUBLIC_PROFILES, "userId", Key),
        (containers::POSTS, "postId", Field("authorId")),
        (containers::REACTIONS, "postId", Field("userId")),
        (containers::FOLLOWS, "followeeId", Key),
        (containers::FOLLOWS, "followeeId", Field("followerId")),
        (containers::BLOCKS, "userId", Key),
        (containers::BLOCKS, "userId", Field("otherId")),
    ];
    places.iter().map(|(container, key, place)| Place::new(container, Role::Source, key, user, place)).collect()
}

/// What is made from sources, in every container of `there`: also in versions of a projection beside the one in use. Indexes
/// come first, because what is left of them brings the others.
pub(crate) fn derived(user: &str, there: &[String]) -> Vec<Place> {
    use Where::{Field, Key};
    let places = [
        (containers::AUTHOR_POSTS, Role::Index, "authorId", Key),
        (containers::POST_REPLIES, Role::Index, "parentPostId", Field("authorId")),
        (containers::FOLLOWING, Role::Index, "followerId", Key),
        (containers::FOLLOWING, Role::Index, "followerId", Field("followeeId")),
        (containers::USER_FEED, Role::Projection, "recipientId", Key),
        (containers::USER_FEED, Role::Projection, "recipientId", Field("authorId")),
        (containers::COUNTERS, Role::Projection, "subjectId", Key),
        (containers::NOTIFICATIONS, Role::Projection, "recipientId", Key),
        (containers::NOTIFICATIONS, Role::Projection, "recipientId", Field("actorId")),
    ];
    let of = |(base, role, key, place): &(&str, Role, &str, Where)| -> Vec<Place> {
        let versions = there.iter().filter(|name| containers::is_version_of(name, base));
        versions.map(|name| Place::new(name, *role, key, user, place)).collect()
    };
    places.iter().flat_map(of).collect()
}

/// Counters of one of the person's posts.
pub(crate) fn counters_of_post(post: &str, there: &[String]) -> Vec<Place> {
    let versions = there.iter().filter(|name| containers::is_version_of(name, containers::COUNTERS));
    versions.map(|name| Place::new(name, Role::Projection, "subjectId", post, &Where::Key)).collect()
}

/// Work: chunks of the person's posts, where their followers are cut, and where they are a cut themselves. Cut points name
/// followers as ids do.
pub(crate) fn work(user: &str, there: &[String]) -> Result<Vec<Place>, IdError> {
    let cut = id::join([user])?.into_string();
    let own = feedmill_documents::fan_out::cuts_id(user)?.into_string();
    let text = "SELECT c.id, c.id AS k, c.deletedAt, c.ttl, c._ts, c.state, c.chunk FROM c WHERE c.id = @own \
                OR c.authorId = @user OR c[\"from\"] = @cut OR c.until = @cut OR ARRAY_CONTAINS(c.cuts, @cut)";
    let query = Query::new(text).with("@own", own).with("@user", user).with("@cut", cut);
    let versions = there.iter().filter(|name| containers::is_version_of(name, containers::FAN_OUT));
    let place = |name: &String| Place {
        container: name.clone(),
        role: Role::Work,
        scope: Scope::Container,
        query: query.clone(),
    };
    Ok(versions.map(place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_a_projection_is_looked_through() {
        let there: Vec<String> =
            ["userFeed", "userFeed_v2", "userFeeds", "fanOut", "fanOut_v2"].map(str::to_owned).to_vec();
        let names = |places: Vec<Place>| places.into_iter().map(|place| place.container).collect::<Vec<_>>();
        assert_eq!(names(derived("u", &there)), ["userFeed", "userFeed_v2", "userFeed", "userFeed_v2"]);
        assert_eq!(names(work("u", &there).unwrap()), ["fanOut", "fanOut_v2"]);
    }
}
