//! Splits and merges of physical partitions. All cases need a store that can be told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::Harness;
use super::fixture::{Fixture, assert_refused, body, id, id_of, parse};
use crate::{ErrorKind, FeedRange, FeedStart, Operation, PartitionKey, Position};

/// A container of one partition with this many documents of as many keys, unless partitions cannot be split here.
async fn filled(harness: &dyn Harness, documents: usize, case: &str) -> Option<Fixture> {
    let probe = Fixture::new(harness).await;
    if !harness.split(probe.container.name(), &probe.ranges().await[0]).await {
        super::skipped(case);
        return None;
    }
    let store = Fixture::new(harness).await;
    for n in 0..documents {
        store.create(&format!("k{n}"), &format!("d{n}"), json!({ "n": 0 })).await;
    }
    Some(store)
}

async fn split(harness: &dyn Harness, store: &Fixture, at: usize) {
    let range = &store.ranges().await[at];
    assert!(harness.split(store.container.name(), range).await, "{range} can be split");
}

async fn merge(harness: &dyn Harness, store: &Fixture, at: usize) {
    let ranges = store.ranges().await;
    let (low, high) = (&ranges[at], &ranges[at + 1]);
    assert!(harness.merge(store.container.name(), low, high).await, "{low} and {high} can be merged");
}

async fn ids(store: &Fixture, range: &FeedRange, start: FeedStart) -> BTreeSet<String> {
    let changes = store.changes(range, start).await;
    let ids: BTreeSet<_> = changes.iter().map(|change| id_of(&change.body)).collect();
    assert_eq!(ids.len(), changes.len(), "a document is delivered once");
    ids
}

/// What no position may be lost over: the pages of a range up to here, and where they ended.
async fn first_pages(store: &Fixture, range: &FeedRange, pages: usize) -> (BTreeSet<String>, Position) {
    let (mut read, mut start, mut end) = (BTreeSet::new(), FeedStart::Beginning, None);
    for _ in 0..pages {
        let page = store.page(range, &start, 7).await;
        read.extend(page.changes.iter().map(|change| id_of(&change.body)));
        start = FeedStart::Position(page.position.clone());
        end = Some(page.position);
    }
    (read, end.expect("at least one page is asked for"))
}

pub async fn halves_take_the_place_of_what_was_split(harness: &dyn Harness) {
    let Some(store) = filled(harness, 40, "halves_take_the_place_of_what_was_split").await else { return };
    let whole = store.ranges().await[0].clone();
    split(harness, &store, 0).await;
    let halves = store.ranges().await;
    let [low, high] = halves.as_slice() else { panic!("one partition was split into {halves:?}") };
    assert!(whole.contains(low) && whole.contains(high) && !low.overlaps(high));
    assert_eq!(FeedRange::new(FeedRange::min(low), FeedRange::max(high)).as_ref(), Ok(&whole));
    for _ in 0..2 {
        let page = store.container.read_page(&whole, &FeedStart::Beginning, 10).await;
        assert_refused(page, ErrorKind::Gone, "reading a range that was split");
    }
    let (in_low, in_high) =
        (ids(&store, low, FeedStart::Beginning).await, ids(&store, high, FeedStart::Beginning).await);
    assert!(in_low.is_disjoint(&in_high) && !in_low.is_empty() && !in_high.is_empty());
    assert_eq!(in_low.len() + in_high.len(), 40);
    assert!(!harness.split(store.container.name(), &whole).await, "what is gone cannot be split");
    assert!(!harness.merge(store.container.name(), high, low).await, "neighbours are merged in key order");
    merge(harness, &store, 0).await;
    assert_eq!(store.ranges().await, std::slice::from_ref(&whole));
    let page = store.container.read_page(low, &FeedStart::Beginning, 10).await;
    assert_eq!(page.map(|page| page.changes.len()).ok(), Some(10), "a part of a partition can be read");
}

pub async fn a_position_of_a_parent_is_good_for_its_children(harness: &dyn Harness) {
    let Some(store) = filled(harness, 60, "a_position_of_a_parent_is_good_for_its_children").await else { return };
    let whole = store.ranges().await[0].clone();
    let (read, position) = first_pages(&store, &whole, 3).await;
    split(harness, &store, 0).await;
    split(harness, &store, 1).await;
    // Some that were read are written again, and some come new.
    let mut left: BTreeSet<_> = (0..60).map(|n| format!("d{n}")).filter(|id| !read.contains(id)).collect();
    for n in [0, 1, 5, 60, 61, 62, 63] {
        store.upsert(&format!("k{n}"), &format!("d{n}"), json!({ "n": 1 })).await;
        left.insert(format!("d{n}"));
    }
    let mut found = BTreeSet::new();
    for range in store.ranges().await {
        let of_range = ids(&store, &range, FeedStart::Position(position.clone())).await;
        assert!(found.is_disjoint(&of_range));
        found.extend(of_range);
    }
    assert_eq!(found, left, "exactly what was not read before");
}

pub async fn positions_stay_good_after_a_merge(harness: &dyn Harness) {
    let Some(store) = filled(harness, 60, "positions_stay_good_after_a_merge").await else { return };
    split(harness, &store, 0).await;
    let ranges = store.ranges().await;
    // One half gets far ahead of the other.
    for n in 0..60 {
        let name = format!("d{n}");
        if ids(&store, &ranges[0], FeedStart::Beginning).await.contains(&name) {
            for _ in 0..3 {
                store.upsert(&format!("k{n}"), &name, json!({ "n": 1 })).await;
            }
        }
    }
    let mut read = BTreeSet::new();
    let mut positions = Vec::new();
    for (range, pages) in ranges.iter().zip([1, 3]) {
        let (of_range, position) = first_pages(&store, range, pages).await;
        read.extend(of_range);
        positions.push(position);
    }
    merge(harness, &store, 0).await;
    let mut left: BTreeSet<_> = (0..60).map(|n| format!("d{n}")).filter(|id| !read.contains(id)).collect();
    for n in [2, 3, 60, 61, 62, 63] {
        store.upsert(&format!("k{n}"), &format!("d{n}"), json!({ "n": 2 })).await;
        left.insert(format!("d{n}"));
    }
    let mut found = BTreeSet::new();
    for (range, position) in ranges.iter().zip(positions) {
        found.extend(ids(&store, range, FeedStart::Position(position)).await);
    }
    assert_eq!(found, left, "exactly what was not read before");
    assert_eq!(ids(&store, &store.ranges().await[0], FeedStart::Beginning).await.len(), 64);
}

pub async fn what_was_written_before_a_time_stays_out_after_a_merge(harness: &dyn Harness) {
    let case = "what_was_written_before_a_time_stays_out_after_a_merge";
    let Some(store) = filled(harness, 40, case).await else { return };
    split(harness, &store, 0).await;
    let low = ids(&store, &store.ranges().await[0], FeedStart::Beginning).await;
    let key = |id: &str| id.replace('d', "k");
    // The lower half's sequence gets far ahead, then time passes, then the upper half writes.
    for _ in 0..4 {
        for id in &low {
            store.upsert(&key(id), id, json!({ "n": 1 })).await;
        }
    }
    if !harness.advance(100).await {
        return super::skipped(case);
    }
    let mut new = BTreeSet::new();
    for n in (0..40).map(|n| format!("d{n}")).filter(|id| !low.contains(id)).take(12) {
        let written = store.upsert(&key(&n), &n, json!({ "n": 2 })).await;
        assert!(written.etag.is_some());
        new.insert(n);
    }
    let newest = store.read(&key(new.first().expect("keys fall on both sides")), new.first().expect("as above")).await;
    let seconds = parse(&newest.expect("it was written").body)["_ts"].as_i64().expect("a document has a time");
    let since = jiff::Timestamp::from_second(seconds - 50).expect("the time is a time");
    merge(harness, &store, 0).await;
    let whole = &store.ranges().await[0];
    let (pages, _) = store.pages(whole, FeedStart::Time(since), 5).await;
    assert!(pages.len() > 1, "the case is about more than one page");
    let found: BTreeSet<_> = pages.iter().flat_map(|page| &page.changes).map(|change| id_of(&change.body)).collect();
    assert_eq!(found, new);
}

pub async fn a_document_stays_what_it_was_through_a_split_and_a_merge(harness: &dyn Harness) {
    let case = "a_document_stays_what_it_was_through_a_split_and_a_merge";
    let Some(store) = filled(harness, 30, case).await else { return };
    let read_all = async || {
        let mut all = Vec::new();
        for n in 0..30 {
            let document = store.read(&format!("k{n}"), &format!("d{n}")).await.expect("it is still there");
            all.push((document.etag, document.body));
        }
        all
    };
    let lsns = async || {
        let mut lsns = BTreeMap::new();
        for range in store.ranges().await {
            let changes = store.changes(&range, FeedStart::Beginning).await;
            lsns.extend(changes.into_iter().map(|change| (id_of(&change.body), change.lsn)));
        }
        lsns
    };
    let (before, lsns_before) = (read_all().await, lsns().await);
    split(harness, &store, 0).await;
    assert_eq!((read_all().await, lsns().await), (before.clone(), lsns_before.clone()));
    merge(harness, &store, 0).await;
    assert_eq!((read_all().await, lsns().await), (before.clone(), lsns_before));
    let (etag, _) = before[7].clone();
    store.replace("k7", "d7", json!({ "n": 1 }), Some(etag.clone())).await.expect("the etag still holds");
    let again = store.replace("k7", "d7", json!({ "n": 2 }), Some(etag)).await;
    assert_refused(again, ErrorKind::Precondition, "an etag that was used");
}

/// Reads all ranges to their present end. What a range has not been read up to comes from whatever covered it before.
async fn follow(store: &Fixture, read_to: &mut Vec<(FeedRange, FeedStart)>, seen: &mut BTreeMap<String, i64>) {
    let mut next = Vec::new();
    for (range, start) in read_to.drain(..) {
        // Whatever was split meanwhile is read in its present parts.
        let mut parts = vec![(range, start)];
        while let Some((part, start)) = parts.pop() {
            match store.container.read_page(&part, &start, 4).await {
                Ok(page) => {
                    for change in &page.changes {
                        let n = parse(&change.body)["n"].as_i64().expect("every document of this case is numbered");
                        let name = id_of(&change.body);
                        let before = seen.insert(name.clone(), n);
                        assert!(before.is_none_or(|before| before < n), "{name}: {n} was delivered after {before:?}");
                    }
                    let at_end = page.changes.is_empty();
                    let read = (part, FeedStart::Position(page.position));
                    if at_end { next.push(read) } else { parts.push(read) }
                }
                Err(error) if error.kind() == ErrorKind::Gone => {
                    let ranges = store.ranges().await;
                    let present = ranges.iter().filter_map(|range| range.intersection(&part));
                    parts.extend(present.map(|part| (part, start.clone())));
                }
                Err(error) => panic!("read {part}: {error}"),
            }
        }
    }
    *read_to = next;
}

pub async fn nothing_is_lost_while_ranges_split_and_merge(harness: &dyn Harness) {
    const WRITERS: usize = 6;
    const ROUNDS: i64 = 120;
    let Some(store) = filled(harness, 0, "nothing_is_lost_while_ranges_split_and_merge").await else { return };
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let container = Arc::clone(&store.container);
        writers.push(harness.spawn(Box::pin(async move {
            for n in 1..=ROUNDS {
                for key_text in [format!("hot{writer}"), format!("w{writer}-{}", n % 9)] {
                    let body = body(&key_text, &key_text, json!({ "n": n }));
                    let operation = Operation::Upsert { id: id(&key_text), body };
                    container.write(&PartitionKey::from(key_text), operation).await.expect("a writer writes");
                }
            }
        })));
    }
    let mut read_to = vec![(FeedRange::full(), FeedStart::Beginning)];
    let mut seen = BTreeMap::new();
    let mut writing = futures::future::join_all(writers);
    let (mut done, mut turn) = (false, 0_usize);
    while !done {
        done = futures::poll!(&mut writing).is_ready();
        let ranges = store.ranges().await;
        // Grows to five partitions and shrinks again, each time at another place.
        turn += 1;
        if turn % 16 < 8 && ranges.len() < 5 {
            harness.split(store.container.name(), &ranges[turn % ranges.len()]).await;
        } else if ranges.len() > 1 {
            let at = turn % (ranges.len() - 1);
            harness.merge(store.container.name(), &ranges[at], &ranges[at + 1]).await;
        }
        follow(&store, &mut read_to, &mut seen).await;
    }
    // Once more from the beginning: the feed as it is has every document at its last version.
    let mut last = BTreeMap::new();
    for range in store.ranges().await {
        for change in store.changes(&range, FeedStart::Beginning).await {
            last.insert(id_of(&change.body), parse(&change.body)["n"].as_i64().unwrap_or(0));
        }
    }
    assert_eq!(last.len(), WRITERS * 10);
    assert_eq!(seen, last, "the reader saw every document at its last version");
    for writer in 0..WRITERS {
        let name = format!("hot{writer}");
        assert_eq!(store.content(&name, &name).await.map(|body| body["n"].clone()), Some(Value::from(ROUNDS)));
    }
}
