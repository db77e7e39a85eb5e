use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Store, lines};

/// A store with a post in it that every processor has seen.
fn caught_up() -> Store {
    let store = Store::new();
    let post = json!({
        "id": "p1", "postId": "p1", "authorId": "ada", "createdAt": "2024-01-01T00:00:00.000Z", "status": "published",
    });
    store.import("posts_v2", &[post]);
    store.catch_up(&[]);
    store
}

fn leases(store: &Store) -> Vec<Value> {
    lines(&store.run(&["leases", "list", "--json"]).succeeded())
}

fn name(lease: &Value) -> String {
    let text = |name: &str| lease[name].as_str().unwrap().to_owned();
    let bound = |name: &str| lease["range"][name].as_str().unwrap().to_owned();
    format!("{}/{}/{}-{}", text("processor"), text("source"), bound("min"), bound("max"))
}

#[test]
fn leases_are_listed_shown_and_rewound() {
    let store = caught_up();
    let all = leases(&store);
    assert!(all.iter().all(|lease| lease["owner"].is_null()), "a job gives its leases back");
    let read = all.iter().find(|lease| lease["source"] == "posts_v2" && lease["position"].is_string()).unwrap();
    let shown = lines(&store.run(&["leases", "show", &name(read), "--json"]).succeeded()).remove(0);
    assert_eq!(shown["lag"], json!({"changes": 0, "seconds": 0}));
    assert!(store.run(&["leases", "show", &name(read)]).succeeded().contains("0 commits, 0 s"));

    let rewind = ["leases", "rewind", &name(read), "--to", "beginning"];
    store.run(&[&rewind[..], &["--dry-run"]].concat()).succeeded();
    assert_eq!(leases(&store), all, "a dry run changes nothing");
    store.run(&rewind).succeeded();
    let rewound = leases(&store).into_iter().find(|lease| lease["id"] == read["id"]).unwrap();
    assert_eq!((&rewound["position"], &rewound["start"]), (&Value::Null, &json!("beginning")));
    assert_eq!(rewound["epoch"].as_u64().unwrap(), read["epoch"].as_u64().unwrap() + 1);
    let behind = lines(&store.run(&["leases", "show", &name(read), "--json"]).succeeded()).remove(0);
    assert!(behind["lag"]["changes"].as_u64().unwrap() > 0);
    let refused = store.run(&["leases", "rewind", &name(read), "--to", "now"]).failed(2);
    assert!(refused.contains("--yes"));
    assert!(store.run(&["leases", "show", "nobody/nothing/-FF"]).failed(1).contains("leases list"));
}

#[test]
fn a_paused_processor_does_nothing_until_it_is_resumed() {
    let store = caught_up();
    let processors: BTreeSet<_> =
        leases(&store).iter().map(|lease| lease["processor"].as_str().unwrap().to_owned()).collect();
    let processor = processors.first().unwrap();
    store.run(&["pause", processor]).succeeded();
    let status = |store: &Store| lines(&store.run(&["status", "--json"]).succeeded());
    let paused =
        |status: &[Value]| status.iter().all(|entry| (entry["processor"] == **processor) == (entry["paused"] == true));
    assert!(paused(&status(&store)));
    store.run(&["resume", processor]).succeeded();
    assert!(status(&store).iter().all(|entry| entry["paused"] == false));
    assert!(store.run(&["status"]).succeeded().contains(processor.as_str()));
    assert!(store.run(&["pause", "nobody"]).failed(2).contains("there are"));
}

#[test]
fn leases_of_others_are_taken_over() {
    let (from, to) = (caught_up(), Store::new());
    to.import("posts_v2", &[]);
    to.catch_up(&[]);
    let exported = from.run(&["leases", "export"]).succeeded();
    assert_eq!(lines(&exported).len(), leases(&from).len());
    let one = lines(&exported).into_iter().find(|lease| lease["ContinuationToken"].is_string()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leases.jsonl");
    std::fs::write(&file, format!("{one}\n")).unwrap();
    let known = leases(&to).remove(0);
    let (processor, source) = (known["processor"].as_str().unwrap(), known["source"].as_str().unwrap());
    let import = ["leases", "import", file.to_str().unwrap(), "--processor", processor, "--source", source, "--json"];
    let outcome = |more: &[&str]| {
        lines(&to.run(&[&import[..], more].concat()).succeeded()).remove(0)["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(outcome(&["--dry-run"]), "would be taken over");
    assert_eq!(outcome(&[]), "left as it is");
    assert_eq!(outcome(&["--replace"]), "taken over");
    std::fs::write(&file, "{\"LeaseToken\":\"0\",\"ContinuationToken\":\"%%\"}\n").unwrap();
    assert!(to.run(&import).failed(1).contains("nothing was written"));

    // The older Java processor's, which name partition key ranges.
    std::fs::write(&file, "{\"LeaseToken\":\"7\",\"ContinuationToken\":\"\\\"12\\\"\"}\n").unwrap();
    assert!(to.run(&import).failed(1).contains("--ranges"));
    let ranges = folder.path().join("ranges.json");
    let list = json!({"PartitionKeyRanges": [{"id": "7", "minInclusive": "", "maxExclusive": "1FFF"}]});
    std::fs::write(&ranges, list.to_string()).unwrap();
    let taken =
        lines(&to.run(&[&import[..], &["--dry-run", "--ranges", ranges.to_str().unwrap()]].concat()).succeeded());
    assert_eq!((&taken[0]["range"], &taken[0]["start"]), (&json!("-1FFF"), &json!("\"12\"")));
}

#[test]
fn an_audit_finds_gaps_and_overlaps_and_mends_them_once_that_is_wanted() {
    let store = caught_up();
    let processor = "user-feed";
    let whole = store.run(&["leases", "audit", processor]).succeeded();
    assert!(whole.contains("user-feed/follows: 4 leases cover every key once"), "{whole}");
    assert_eq!(store.run(&["leases", "audit", processor, "--json"]).succeeded(), "");
    assert!(store.run(&["leases", "audit", "nobody"]).failed(2).contains("there are"));

    // A lease over all keys of a container whose parts have leases.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leases.jsonl");
    std::fs::write(&file, "{\"LeaseToken\":\"-FF\",\"ContinuationToken\":null}\n").unwrap();
    let import = ["leases", "import", file.to_str().unwrap(), "--processor", processor, "--source", "follows"];
    store.run(&import).succeeded();
    let audit = store.run(&["leases", "audit", processor]);
    assert!(audit.stdout.contains("leases -FF and "), "{}", audit.stdout);
    assert!(audit.stdout.contains("delivered twice"), "{}", audit.stdout);
    assert!(audit.stdout.contains("to mend it: remove lease "), "{}", audit.stdout);
    assert!(audit.failed(1).contains("--repair"));
    let found = store.run(&["leases", "audit", processor, "--json"]);
    let entries = lines(&found.stdout);
    assert_eq!(entries.iter().filter(|entry| entry["fault"] == "overlap").count(), 4);
    assert_eq!(entries.iter().filter(|entry| entry["repair"] == "remove").count(), 1);
    assert!(entries.iter().all(|entry| entry["source"] == "follows"));
    found.failed(1);

    let before = leases(&store).len();
    assert!(store.run(&["leases", "audit", processor, "--repair"]).failed(2).contains("--yes"));
    assert_eq!(leases(&store).len(), before, "nothing is done without asking");
    let said = store.run(&["leases", "audit", processor, "--repair", "--yes"]);
    assert!(said.stderr.contains("now cover every key once"), "{}", said.stderr);
    said.succeeded();
    assert_eq!(leases(&store).len(), before - 1);
    store.run(&["leases", "audit", processor]).succeeded();
    store.catch_up(&[]);
}
