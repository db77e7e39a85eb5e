use serde_json::{Value, json};

use crate::support::{Ran, Served, Store, command, comparable, feedmill_reads, lines};

const SMALL: [&str; 7] = ["demo", "--users", "40", "--seed", "7", "--set", "user_feed.fan_out_inline_max=3"];

fn with(mut document: Value, with: &Value) -> Value {
    document.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    document
}

#[test]
fn verify_finds_what_was_written_over_and_repair_and_rebuild_mend_it() {
    let store = Store::new();
    // Nobody has so many followers that there is a chunk: where a container is empty nothing is in flight.
    store.run(&SMALL[..5]).succeeded();
    for projection in ["user-feed", "counters", "notifications"] {
        assert_eq!(store.run(&["verify", projection, "--all"]).succeeded(), "", "{projection}");
    }
    let feeds = store.export("userFeed");
    let shown = |item: &&Value| item.get("deletedAt").is_none();
    let item = feeds.iter().find(shown).unwrap();
    let (user, id) = (item["recipientId"].as_str().unwrap(), item["id"].as_str().unwrap());
    store.import("userFeed", &[with(item.clone(), &json!({"content": "forged"}))]);

    let verify = ["verify", "user-feed", "--user", user, "--json"];
    let found = store.run(&verify);
    assert_eq!(found.code, Some(1), "{}", found.stderr);
    let [line] = lines(&found.stdout).try_into().unwrap();
    let expected = json!({"projection": "user-feed", "user": user, "id": id, "difference": "differs",
        "fields": ["content"], "likelyCause": "written by somebody else", "inFlight": false});
    assert_eq!(line, expected);
    store.run(&["verify", "user-feed", "--user", user, "--repair"]).failed(1);
    store.run(&verify).succeeded();

    // What is gone altogether a rebuild brings back too, and says so before.
    store.import("userFeed", &[with(item.clone(), &json!({"deletedAt": "2020-01-01T00:00:00.000Z", "_source": null}))]);
    let dry = store.run(&["admin", "rebuild-user-feed", user, "--dry-run"]).succeeded();
    assert!(dry.contains(&format!("{user}: {id} missing")), "{dry}");
    let ran = store.run(&["admin", "rebuild-user-feed", "--all", "--rate", "100000"]);
    assert!(ran.stderr.contains("1 written"), "{}", ran.stderr);
    store.run(&["verify", "user-feed", "--all"]).succeeded();
}

/// Whoever has a character in their id that is encoded stands elsewhere in the order of ids than in that of people.
#[test]
fn a_rebuild_that_is_stopped_goes_on_behind_the_last_person_and_misses_nobody() {
    let served = Served::in_memory();
    let import = |container: &str, documents: &[Value]| {
        let lines: String = documents.iter().map(|document| format!("{document}\n")).collect();
        assert_eq!(feedmill_reads(served.arguments(&["import", container]), &lines).code, Some(0));
    };
    let at = "2024-01-01T00:00:00.000Z";
    let people = [("a%3Az", "a:z"), ("a1", "a1"), ("a2", "a2"), ("b%2Fc", "b/c"), ("b0", "b0")];
    import("publicProfiles", &people.map(|(id, user)| json!({"id": id, "userId": user, "displayName": user})));
    import(
        "follows",
        &people
            .map(|(id, user)| json!({"id": format!("x:{id}"), "followeeId": "x", "followerId": user, "createdAt": at})),
    );
    let post = json!({"id": "p", "postId": "p", "authorId": "x", "createdAt": at, "status": "published"});
    import("posts_v2", &[post]);
    served.run(&["run", "--until-caught-up"]).succeeded();
    let feeds = || lines(&served.run(&["export", "userFeed"]).succeeded());
    let right = comparable(&feeds());
    let forged: Vec<_> =
        feeds().into_iter().map(|item| with(item, &json!({"content": "forged", "_source": null}))).collect();
    assert_eq!(forged.len(), people.len());
    import("userFeed", &forged);
    let left = || feeds().iter().filter(|item| item["content"] == "forged").count();

    // So slow that it is at the first of them until it is stopped.
    let rebuild = ["admin", "rebuild-user-feed", "--all"];
    let slow = served.arguments(&[&rebuild[..], &["--rate", "0.001"]].concat());
    let child = command(slow).spawn().unwrap();
    while left() == people.len() {}
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let said = Ran::from(child.wait_with_output().unwrap()).failed(1);
    assert!(said.contains("--after 'a:z'"), "{said}");
    assert_eq!(left(), people.len() - 1, "nobody's feed was empty or half done");

    let rest = served.run(&[&rebuild[..], &["--after", "a:z"]].concat());
    assert!(rest.stderr.contains("4 written"), "{}", rest.stderr);
    assert_eq!(comparable(&feeds()), right);
}

#[test]
fn what_is_in_flight_is_no_difference() {
    let store = Store::new();
    store.run(&SMALL).succeeded();
    let posts = store.export("authorPosts");
    let edited: Vec<_> =
        store.export("posts_v2").iter().map(|post| with(post.clone(), &json!({"content": "edited"}))).collect();
    store.import("posts_v2", &edited);
    // Not even the index has seen them yet; half of the way is in flight as well.
    store.run(&["verify", "user-feed", "--all"]).succeeded();
    let half: Vec<_> = posts.iter().map(|post| with(post.clone(), &json!({"content": "edited"}))).collect();
    store.import("authorPosts", &half[..20]);
    let said = store.run(&["verify", "user-feed", "--all"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains(" 0 different") && !said.stderr.contains(" 0 in flight"), "{}", said.stderr);
}

#[test]
fn a_replay_after_a_fix_lands_exactly_where_the_original_would_have() {
    let at = "2024-01-01T00:00:00.000Z";
    let retention = ["--set", "notifications.retention=none", "--set", "engine.retry_inline=1ms"];
    let post = |id: &str| json!({"id": id, "postId": id, "authorId": "a", "createdAt": at, "status": "published"});
    let like = json!({"id": "p:r", "postId": "p", "userId": "r", "type": "like", "createdAt": at});
    let edges = ["r", "s"]
        .map(|user| json!({"id": format!("a:{user}"), "followeeId": "a", "followerId": user, "createdAt": at}));
    let bad = |document: &Value, field: &str| with(document.clone(), &json!({field: 17}));
    let reply = with(post("q"), &json!({"replyToPostId": "p", "authorId": "s"}));
    let projections = ["userFeed", "counters", "notifications", "authorPosts", "postReplies", "following"];
    let everything = |store: &Store| projections.map(|container| comparable(&store.export(container)));
    let import = |store: &Store, damaged: bool| {
        let either = |document: &Value, field: &str| if damaged { bad(document, field) } else { document.clone() };
        store.import("posts_v2", &[either(&post("p"), "createdAt"), post("o"), either(&reply, "authorId")]);
        store.import("reactions", &[either(&like, "type")]);
        store.import("follows", &[either(&edges[0], "muted"), edges[1].clone()]);
    };
    let (original, store) = (Store::new(), Store::new());
    import(&original, false);
    original.catch_up(&retention);

    import(&store, true);
    store.catch_up(&retention);
    let open = || lines(&store.run(&["dead-letters", "list", "--json"]).succeeded()).len();
    assert!(open() > 4 && everything(&store) != everything(&original));
    import(&store, false);
    // One processor's letter may wait for what another one's brings.
    for _ in 0..3 {
        store.run(&[&["dead-letters", "replay"][..], &retention[..2]].concat());
    }
    store.catch_up(&retention);
    assert_eq!(open(), 0);
    assert_eq!(everything(&store), everything(&original));

    // What is dropped nobody tries again, until its document changes once more.
    store.import("follows", &[bad(&edges[0], "muted")]);
    store.catch_up(&retention);
    assert!(open() > 0);
    store.run(&["dead-letters", "drop", "--yes"]).succeeded();
    store.catch_up(&retention);
    assert_eq!(open(), 0);
    store.import("follows", &[edges[0].clone()]);
    store.catch_up(&retention);
    assert_eq!(everything(&store), everything(&original));
}

#[test]
fn a_dead_letter_is_listed_shown_replayed_after_a_fix_and_dropped() {
    let store = Store::new();
    let post =
        json!({"id": "p", "postId": "p", "authorId": "a", "createdAt": "2024-01-01T00:00:00Z", "status": "published"});
    let edge = json!({"id": "a:r", "followeeId": "a", "followerId": "r", "createdAt": "2024-01-01T00:00:00Z"});
    store.import("posts_v2", &[post]);
    store.import("follows", &[with(edge.clone(), &json!({"muted": "perhaps"}))]);
    store.catch_up(&["--set", "engine.retry_inline=1ms"]);
    let list = |more: &[&str]| lines(&store.run(&[&["dead-letters", "list", "--json"], more].concat()).succeeded());
    let letters = list(&["--processor", "user-feed"]);
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert!(letter["error"].as_str().unwrap().contains("field `muted`"), "{letter}");
    let id = letter["id"].as_str().unwrap();
    assert!(store.run(&["dead-letters", "show", id]).succeeded().contains("\"muted\": \"perhaps\""));
    let counted = |store: &Store| {
        let status = lines(&store.run(&["status", "--json"]).succeeded());
        status
            .iter()
            .filter(|entry| entry["processor"] == letter["processor"])
            .map(|one| one["deadLetters"].clone())
            .max_by_key(Value::as_u64)
    };
    assert_eq!(counted(&store), Some(json!(1)));
    store.run(&["dead-letters", "replay", id]).failed(1);
    assert_eq!(store.export("userFeed").len(), 0);

    store.import("follows", &[edge]);
    store.run(&["dead-letters", "replay"]).succeeded();
    assert_eq!(list(&[]), [json!(null); 0]);
    assert_eq!(counted(&store), Some(json!(0)));
    assert_eq!(list(&["--state", "closed", "--processor", "user-feed"]).len(), 1);
    let feed = store.export("userFeed");
    assert_eq!(feed.iter().map(|item| item["id"].as_str().unwrap()).collect::<Vec<_>>(), ["r:p"]);
    let drop = ["dead-letters", "drop", "--state", "closed"];
    store.run(&drop).failed(2);
    store.run(&[&drop[..], &["--yes"]].concat()).succeeded();
    assert!(list(&["--state", "closed"]).is_empty());
}
