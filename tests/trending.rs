//! A processor of one's own: which tags are trending, hour by hour. crates/README.md explains it.

use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::{Members, Post, changed, containers, id};
use feedmill_engine::{
    Address, Basis, Delivery, Desired, Expiry, Fields, Handler, Outcome, Processor, Projection, Reader, SettleError,
    Settler, SourceRef, StartFrom,
};
use feedmill_store_api::{Document, PartitionKey};
use futures::FutureExt;
use futures::future::BoxFuture;

/// `tagUses`: one document for each tag of each post, under the hour of the post. What is trending in an hour is a
/// single-partition query: `SELECT c.tag, COUNT(1) AS uses FROM c WHERE NOT IS_DEFINED(c.deletedAt) GROUP BY c.tag`.
struct TagUses;

#[derive(Clone)]
struct Use {
    address: Address,
    tag: String,
    post: String,
}

/// The uses that a post makes. Tags and time never change: they are identity.
fn uses(post: &Post<'_>, members: &Members<'_>) -> Result<Vec<Use>, String> {
    let tags = members.get("tags").map_or("[]", |tags| tags.get());
    let tags: Vec<String> = serde_json::from_str(tags).map_err(|error| format!("field `tags`: {error}"))?;
    let hour = format!("{:.0}", post.created_at)[..13].to_owned();
    let named = tags.into_iter().map(|tag| {
        let id = id::join([&hour, &tag, &post.post_id]).map_err(|error| error.to_string())?;
        Ok(Use { address: Address { key: hour.as_str().into(), id }, tag, post: post.post_id.clone() })
    });
    named.collect()
}

impl Projection for TagUses {
    type Target = Use;
    type Sources = BTreeMap<String, Option<Document>>;

    fn container(&self) -> &str {
        "tagUses"
    }

    fn address(&self, target: &Use) -> Address {
        target.address.clone()
    }

    fn read<'a>(
        &'a self,
        uses: &'a [Use],
        reader: &'a Reader<'a>,
    ) -> BoxFuture<'a, Result<Self::Sources, SettleError>> {
        async move {
            let mut posts = BTreeMap::new();
            for Use { post, .. } in uses {
                let id = Post::id(post).map_err(|error| SettleError::Invalid(error.to_string()))?;
                let found = reader.read(containers::POSTS, &PartitionKey::from(post.as_str()), &id).await?;
                posts.insert(post.clone(), found);
            }
            Ok(posts)
        }
        .boxed()
    }

    fn compute(&self, target: &Use, posts: &Self::Sources, _: Option<&Document>) -> Result<Desired, String> {
        let found = posts[&target.post].as_ref();
        let source = SourceRef(containers::POSTS.into(), target.post.clone(), found.map(|found| found.etag.clone()));
        let basis = Basis::Sources { rev: 1, sources: vec![source] };
        let post = found.map(|found| Post::decode(&found.body)).transpose().map_err(|error| error.to_string())?;
        Ok(match post {
            Some(post) if post.is_live() => {
                let fields = serde_json::json!({"tag": target.tag, "postId": target.post});
                let fields = Fields::of(&fields).map_err(|error| error.to_string())?;
                Desired::Document { fields, expires: Expiry::ContainerDefault, basis }
            }
            _ => Desired::Absent { deleted_at: post.map_or(Default::default(), |post| post.created_at), basis },
        })
    }
}

impl Handler for TagUses {
    fn handle<'a>(
        &'a self,
        changes: &'a Delivery,
        settler: &'a Settler<'a>,
    ) -> BoxFuture<'a, Result<Outcome, SettleError>> {
        async move {
            let (mut outcome, mut targets) = (Outcome::default(), Vec::new());
            for each in changed(&changes.changes).0 {
                let body = &changes.changes[each.index].body;
                match Post::decode(body).map_err(|error| error.to_string()).and_then(|post| uses(&post, &post.members))
                {
                    Ok(uses) => targets.extend(uses),
                    Err(reason) => outcome.reject(each.index, reason),
                }
            }
            settler.settle(self, targets, None).await?;
            Ok(outcome)
        }
        .boxed()
    }
}

/// What an engine is given.
fn processor() -> Processor {
    let (name, source) = ("trending".to_owned(), containers::POSTS.to_owned());
    Processor { name, source, start: StartFrom::Beginning, handler: Arc::new(TagUses), gather: false, ranges_min: 1 }
}

mod tests {
    use feedmill_store_api::ContainerSpec;
    use feedmill_testing::World;
    use serde_json::{Value, json};

    use super::*;

    fn post(id: &str, at: &str, more: Value) -> Value {
        let mut post = json!({"id": id, "postId": id, "authorId": "a", "createdAt": at, "status": "published"});
        post.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post
    }

    #[tokio::test]
    async fn an_hour_has_the_tags_of_the_posts_that_are_left() {
        let mut world = World::new().await;
        world.provision(&ContainerSpec::new("tagUses", "/hour")).await;
        let tags = |tags: &[&str]| json!({"tags": tags});
        world.put(containers::POSTS, post("1", "2019-12-31T10:05:00Z", tags(&["rust", "go"]))).await;
        world.put(containers::POSTS, post("2", "2019-12-31T10:55:00Z", tags(&["rust"]))).await;
        world.put(containers::POSTS, post("3", "2019-12-31T11:00:00Z", tags(&["rust"]))).await;
        world.put(containers::POSTS, post("4", "2019-12-31T11:00:00Z", json!({"tags": 7}))).await;
        assert_eq!(world.deliver(&[processor()]).await.len(), 1, "what cannot be understood is a dead letter");
        world
            .put(containers::POSTS, post("2", "2019-12-31T10:55:00Z", json!({"tags": ["rust"], "status": "hidden"})))
            .await;
        world.deliver(&[processor()]).await;
        let live = world.documents("tagUses").await;
        let live: Vec<_> = live.iter().filter(|(_, used)| used.get("deletedAt").is_none()).map(|(id, _)| id).collect();
        assert_eq!(live, ["2019-12-31T10:go:1", "2019-12-31T10:rust:1", "2019-12-31T11:rust:3"]);
    }
}

#[test]
fn the_example_is_short_and_what_the_page_quotes_is_in_it() {
    let text = include_str!("trending.rs");
    let example = text.split("\nmod tests {").next().unwrap();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = example.lines().filter(is_code).count();
    assert!(lines < 100, "{lines} lines");
    let page = include_str!("../crates/README.md");
    let quoted = page.split("## A processor of your own").nth(1).unwrap().split("```").nth(1).unwrap();
    for line in quoted.lines().skip(1).filter(|line| !line.trim().is_empty() && line.trim() != "…") {
        assert!(example.contains(line.trim()), "not in tests/trending.rs: {line}");
    }
}
