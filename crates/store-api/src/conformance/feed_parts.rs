//! Parts of a range, and readers among writers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use super::Harness;
use super::fixture::{Fixture, body, id, id_of, parse};
use crate::{FeedRange, FeedStart, Operation, PartitionKey, Position};

/// A range cut at the places that lie within it; none of them is round, so that no store happens to be cut there too.
fn parts(range: &FeedRange) -> Vec<FeedRange> {
    let cuts = ["05A1", "0B", "13C7", "1F2E55", "25", "31D4", "3A"];
    let inside = cuts.into_iter().filter(|cut| range.min() < *cut && *cut < range.max());
    let mut bounds = vec![range.min()];
    bounds.extend(inside);
    bounds.push(range.max());
    let part = |pair: &[&str]| FeedRange::new(pair[0], pair[1]).expect("cuts are in order");
    bounds.windows(2).map(part).collect()
}

pub async fn a_part_of_a_range_holds_its_keys_alone(harness: &dyn Harness) {
    let store = Fixture::with(harness, |spec| spec.partitions(2)).await;
    for n in 0..80 {
        store.create(&format!("k{}", n % 40), &format!("d{n}"), json!({})).await;
    }
    for range in store.ranges().await {
        let whole = store.changes(&range, FeedStart::Beginning).await;
        let mut keys = BTreeMap::new();
        let mut found = BTreeSet::new();
        for (index, part) in parts(&range).iter().enumerate() {
            let changes = store.changes(part, FeedStart::Beginning).await;
            assert!(changes.windows(2).all(|pair| pair[0].lsn <= pair[1].lsn));
            for change in &changes {
                let key = parse(&change.body)["pk"].to_string();
                assert_eq!(*keys.entry(key).or_insert(index), index, "a key is in one part");
                assert!(found.insert(id_of(&change.body)), "a document is in one part");
            }
        }
        assert_eq!(found, whole.iter().map(|change| id_of(&change.body)).collect(), "the parts are the whole");
    }
}

pub async fn a_position_of_a_range_is_good_for_its_parts(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    for n in 0..60 {
        store.create(&format!("k{}", n % 30), &format!("d{n}"), json!({})).await;
    }
    let range = &store.ranges().await[0];
    let page = store.page(range, &FeedStart::Beginning, 20).await;
    let read: BTreeSet<_> = page.changes.iter().map(|change| id_of(&change.body)).collect();
    let rest = store.changes(range, FeedStart::Position(page.position.clone())).await;
    let mut of_parts = BTreeSet::new();
    for part in parts(range) {
        for change in store.changes(&part, FeedStart::Position(page.position.clone())).await {
            assert!(of_parts.insert(id_of(&change.body)), "a document is in one part");
        }
    }
    assert!(of_parts.is_disjoint(&read), "nothing is read twice");
    assert_eq!(of_parts, rest.iter().map(|change| id_of(&change.body)).collect(), "nothing is lost");
}

pub async fn an_empty_part_still_moves_on(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    for n in 0..50 {
        store.create("only", &format!("d{n}"), json!({})).await;
    }
    let range = &store.ranges().await[0];
    let mut holding = 0;
    for part in parts(range) {
        let changes = store.changes(&part, FeedStart::Beginning).await;
        assert!(changes.is_empty() || changes.len() == 50, "a key is in one part");
        holding += usize::from(!changes.is_empty());
    }
    assert_eq!(holding, 1);
}

/// Reads a range from `position` to its present end, noting the newest number seen of each document.
async fn follow(store: &Fixture, range: &FeedRange, position: &mut FeedStart, seen: &mut BTreeMap<String, i64>) {
    let (pages, end): (_, Position) = store.pages(range, position.clone(), 3).await;
    for change in pages.iter().flat_map(|page| &page.changes) {
        let n = parse(&change.body)["n"].as_i64().expect("every document of this case is numbered");
        let name = id_of(&change.body);
        let before = seen.insert(name.clone(), n);
        assert!(before.is_none_or(|before| before < n), "{name}: {n} was delivered after {before:?}");
    }
    *position = FeedStart::Position(end);
}

pub async fn a_reader_among_writers_misses_nothing(harness: &dyn Harness) {
    const WRITERS: usize = 4;
    const ROUNDS: i64 = 60;
    let store = Fixture::with(harness, |spec| spec.partitions(2)).await;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let container = Arc::clone(&store.container);
        writers.push(harness.spawn(Box::pin(async move {
            let key_text = format!("k{writer}");
            let key = PartitionKey::from(key_text.as_str());
            let upsert =
                |name: &str, n: i64| Operation::Upsert { id: id(name), body: body(&key_text, name, json!({ "n": n })) };
            for n in 1..=ROUNDS {
                // A hot document, a fresh one, and a transaction of both kinds.
                let hot = format!("hot{writer}");
                container.write(&key, upsert(&hot, 2 * n)).await.expect("a writer writes");
                container.write(&key, upsert(&format!("w{writer}-{n}"), n)).await.expect("a writer writes");
                let both = vec![upsert(&hot, 2 * n + 1), upsert(&format!("b{writer}-{n}"), n)];
                container.batch(&key, both).await.expect("a writer writes");
            }
        })));
    }
    let ranges = store.ranges().await;
    let mut positions = vec![FeedStart::Beginning; ranges.len()];
    let mut seen = BTreeMap::new();
    let mut writing = futures::future::join_all(writers);
    let mut done = false;
    while !done {
        done = futures::poll!(&mut writing).is_ready();
        // After the last writer is done there is one more round to see what it left.
        for (range, position) in ranges.iter().zip(&mut positions) {
            follow(&store, range, position, &mut seen).await;
        }
    }
    assert_eq!(seen.len(), WRITERS * (1 + 2 * ROUNDS as usize), "every document was delivered");
    for writer in 0..WRITERS {
        assert_eq!(seen.get(&format!("hot{writer}")), Some(&(2 * ROUNDS + 1)), "at its last version");
    }
}
