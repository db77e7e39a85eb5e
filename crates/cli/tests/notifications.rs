//! What people are shown of what they were told: together, by page, and without what they turned off.

use feedmill_workload::expected::{Expected, Options, Sources};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{Store, lines};

const FOREVER: [&str; 2] = ["--set", "notifications.retention=none"];

fn at(hour: u32) -> String {
    format!("2024-01-01T{hour:02}:00:00.000Z")
}

fn post(id: &str, author: &str, hour: u32, parent: Option<&str>) -> Value {
    let mut post = json!({"id": id, "postId": id, "authorId": author, "createdAt": at(hour), "status": "published"});
    if let Some(parent) = parent {
        post["replyToPostId"] = parent.into();
    }
    post
}

fn like(post: &str, user: &str, hour: u32) -> Value {
    json!({"id": format!("{post}:{user}"), "postId": post, "userId": user, "type": "like", "createdAt": at(hour)})
}

fn follow(user: &str, by: &str, hour: u32) -> Value {
    json!({"id": format!("{user}:{by}"), "followeeId": user, "followerId": by, "createdAt": at(hour)})
}

fn preferences(off: &[&str]) -> Value {
    json!({"id": "u:preferences", "recipientId": "u", "off": off, "ttl": -1})
}

/// `u` has two posts. The first has reactions around a reply and the reactions to the second.
fn sources() -> Vec<(&'static str, Vec<Value>)> {
    let posts = [post("p", "u", 0, None), post("q", "u", 0, None), post("r", "cid", 4, Some("p"))];
    let likes =
        [like("p", "ann", 1), like("p", "bob", 2), like("q", "ann", 3), like("p", "ada", 6), like("p", "dan", 5)];
    vec![
        ("posts_v2", posts.to_vec()),
        ("reactions", likes.to_vec()),
        ("follows", vec![follow("u", "ann", 7), follow("u", "bob", 0)]),
        ("publicProfiles", vec![json!({"id": "ada", "userId": "ada", "displayName": "Ada"})]),
    ]
}

fn put(store: &Store, all: &mut Sources, documents: &[(&'static str, Vec<Value>)]) {
    for (container, documents) in documents {
        store.import(container, documents);
        documents.iter().for_each(|document| all.put(container, &document.to_string().into()).unwrap());
    }
    store.catch_up(&FOREVER);
}

fn ids(store: &Store) -> Vec<Value> {
    let each = lines(&store.run(&["notifications", "u", "--each", "--json"]).succeeded());
    each.into_iter().map(|one| one["id"].clone()).collect()
}

fn expected(sources: &Sources) -> Vec<Value> {
    let expected = Expected::new(sources, Options { retention: None, ..Options::default() }, Timestamp::UNIX_EPOCH);
    expected.shown_notifications("u").into_iter().map(|one| one["id"].clone()).collect()
}

#[test]
fn what_is_about_the_same_post_is_told_together_where_its_newest_stands() {
    let (store, mut all) = (Store::new(), Sources::default());
    put(&store, &mut all, &sources());
    let shown = store.run(&["notifications", "u"]);
    assert!(shown.stderr.contains("8 unread"), "{}", shown.stderr);
    let shown = shown.succeeded();
    let said: Vec<_> = shown.lines().skip(1).map(|line| line.split_once("  ").unwrap().1.trim()).collect();
    let [follows, first, reply, second] = said[..] else { panic!("{shown}") };
    assert!(follows.starts_with("ann and 1 other follow you"), "{shown}");
    assert!(first.starts_with("Ada (ada) and 3 others reacted to your post p"), "{shown}");
    assert!(reply.starts_with("cid replied to your post p"), "{shown}");
    assert!(second.starts_with("ann reacted to your post q"), "{shown}");

    let all_at_once = lines(&store.run(&["notifications", "u", "--json"]).succeeded());
    let of_p = json!({"kind": "reaction", "subjectId": "p", "createdAt": at(6),
        "actorIds": ["ada", "dan", "bob", "ann"], "more": false, "unread": 4});
    assert_eq!(all_at_once[1], of_p);
    // One after the other they are the same, though most of the first post's reactions are older than the second post's.
    let (mut paged, mut before) = (Vec::new(), None::<String>);
    loop {
        let mut arguments = vec!["notifications", "u", "--json", "--limit", "1"];
        arguments.extend(before.iter().flat_map(|before| ["--before", before.as_str()]));
        let page = store.run(&arguments);
        let more =
            page.stderr.split_once("--before '").map(|(_, cursor)| cursor.split_once('\'').unwrap().0.to_owned());
        paged.extend(lines(&page.succeeded()));
        if more.is_none() {
            break;
        }
        before = more;
    }
    assert_eq!(paged, all_at_once);
    assert_eq!(ids(&store), expected(&all));
}

#[test]
fn a_kind_that_is_turned_off_is_not_shown_and_turned_on_again_all_is_there_with_what_was_read() {
    let (store, mut all) = (Store::new(), Sources::default());
    put(&store, &mut all, &sources());
    let before = ids(&store);
    let mut read = store.export("notifications").into_iter().find(|one| one["id"] == "u:reaction:q:ann").unwrap();
    read["read"] = true.into();
    store.import("notifications", &[read]);

    put(&store, &mut all, &[("notifications", vec![preferences(&["reaction", "follow"])])]);
    assert_eq!(ids(&store), ["u:reply:r:cid"]);
    assert_eq!(ids(&store), expected(&all));
    let grouped = store.run(&["notifications", "u", "--json"]);
    assert!(grouped.stderr.contains("1 unread"), "{}", grouped.stderr);
    assert_eq!(lines(&grouped.succeeded()).len(), 1);
    // What happens meanwhile is not shown either, and neither is it lost.
    put(&store, &mut all, &[("reactions", vec![like("q", "eve", 8)])]);
    assert_eq!(ids(&store), ["u:reply:r:cid"]);
    store.run(&["admin", "rebuild-notifications", "u"]).succeeded();
    store.run(&["verify", "notifications", "--all"]).succeeded();

    put(&store, &mut all, &[("notifications", vec![preferences(&[])])]);
    assert_eq!(ids(&store).len(), before.len() + 1);
    assert_eq!(ids(&store), expected(&all));
    let of_q = lines(&store.run(&["notifications", "u", "--json"]).succeeded());
    let of_q = of_q.iter().find(|group| group["subjectId"] == "q").unwrap();
    assert_eq!((&of_q["actorIds"], &of_q["unread"]), (&json!(["eve", "ann"]), &json!(1)));

    store.import("notifications", &[preferences(&["everything"])]);
    let said = store.run(&["notifications", "u"]).failed(1);
    assert!(said.contains("u:preferences"), "{said}");
}

#[test]
fn a_feed_shows_no_more_than_its_limit_on_whatever_page() {
    let store = Store::new();
    let posts: Vec<_> = (1..9).map(|hour| post(&format!("p{hour}"), "a", hour, None)).collect();
    store.import("posts_v2", &posts);
    store.import("follows", &[follow("a", "r", 0)]);
    store.catch_up(&[]);
    let page = |more: &[&str]| {
        let page = store.run(&[&["feed", "r", "--json", "--set", "user_feed.feed_items_max=5"], more].concat());
        let more = page.stderr.contains("more: ");
        let shown = lines(&page.succeeded()).into_iter().map(|item| item["postId"].as_str().unwrap().to_owned());
        (shown.collect::<Vec<_>>(), more)
    };
    assert_eq!(page(&[]).0, ["p8", "p7", "p6", "p5", "p4"]);
    assert!(!page(&[]).1 && page(&["--limit", "3"]).1);
    let after = format!("{},p6", at(6));
    assert_eq!(page(&["--limit", "3", "--before", &after]), (vec!["p5".to_owned(), "p4".to_owned()], false));
    // A withdrawn one makes room for an older one.
    let mut withdrawn = posts[7].clone();
    withdrawn["deletedAt"] = at(9).into();
    store.import("posts_v2", &[withdrawn]);
    store.catch_up(&[]);
    assert_eq!(page(&[]).0, ["p7", "p6", "p5", "p4", "p3"]);
}
