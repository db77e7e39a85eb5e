//! The latest-version change feed: what it holds, in which order, and from where.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use super::Harness;
use super::fixture::{Fixture, assert_refused, content, create, id_of, parse};
use crate::{Change, ErrorKind, FeedRange, FeedStart, ReadLevel};

fn ids(changes: &[Change]) -> Vec<String> {
    changes.iter().map(|change| id_of(&change.body)).collect()
}

pub async fn ranges_cover_everything_once(harness: &dyn Harness) {
    for partitions in [1, 2, 5] {
        let store = Fixture::with(harness, |spec| spec.partitions(partitions)).await;
        let ranges = store.ranges().await;
        let full = &FeedRange::full();
        assert_eq!(ranges.first().map(FeedRange::min), Some(full.min()));
        assert_eq!(ranges.last().map(FeedRange::max), Some(full.max()));
        let meets = |pair: &[FeedRange]| FeedRange::max(&pair[0]) == FeedRange::min(&pair[1]);
        assert!(ranges.windows(2).all(meets), "{ranges:?}");
    }
}

pub async fn every_document_is_in_exactly_one_range(harness: &dyn Harness) {
    let store = Fixture::with(harness, |spec| spec.partitions(4)).await;
    let mut expected = BTreeSet::new();
    for n in 0..60 {
        let name = format!("d{n}");
        store.create(&format!("k{}", n % 20), &name, json!({})).await;
        expected.insert(name);
    }
    for items_max in [1, 7, 1_000] {
        let found = store.feed_ids(items_max).await;
        assert_eq!(found.len(), expected.len(), "pages of {items_max}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "pages of {items_max}");
    }
}

pub async fn a_change_says_when_and_which_version(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let written = store.create("k", "a", json!({ "n": 1 })).await;
    let page = store.page(&store.ranges().await[0], &FeedStart::Beginning, 10).await;
    let change = &page.changes[0];
    let body = parse(&change.body);
    assert_eq!(Some(&change.etag), written.etag.as_ref());
    assert_eq!(body["_etag"], change.etag.as_str());
    assert_eq!(body["_ts"], change.timestamp_seconds);
    assert_eq!(body["n"], 1);
    assert_eq!(page.head_lsn, change.lsn);
    let read = store.read_at("k", "a", &ReadLevel::Session(page.session)).await;
    let read = read.map(|document| (document.etag, content(&document.body)));
    assert_eq!(read, Some((change.etag.clone(), content(&change.body))), "a read is as new as the page");
}

pub async fn a_key_comes_in_the_order_of_its_last_writes(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    for name in ["c", "a", "b", "d"] {
        store.create("k", name, json!({ "n": 0 })).await;
    }
    store.upsert("k", "a", json!({ "n": 1 })).await;
    store.replace("k", "c", json!({ "n": 1 }), None).await.expect("it is there");
    store.upsert("k", "a", json!({ "n": 2 })).await;
    let changes = store.changes(&store.ranges().await[0], FeedStart::Beginning).await;
    let found: Vec<_> = changes.iter().map(|change| (id_of(&change.body), parse(&change.body)["n"].clone())).collect();
    let expected = [("b", 0), ("d", 0), ("c", 1), ("a", 2)].map(|(id, n)| (id.to_owned(), json!(n)));
    assert_eq!(found, expected, "each document once, at its latest version");
    assert!(changes.windows(2).all(|pair| pair[0].lsn < pair[1].lsn), "{changes:?}");
}

pub async fn a_deleted_document_leaves_the_feed(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    for name in ["a", "b", "c"] {
        store.create("k", name, json!({})).await;
    }
    store.delete("k", "b", None).await.expect("it is there");
    assert_eq!(store.feed_ids(10).await, ["a", "c"]);
    store.create("k", "b", json!({})).await;
    assert_eq!(store.feed_ids(10).await, ["a", "c", "b"], "a new life is a new change");
}

pub async fn a_page_is_as_large_as_asked_for(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    for n in 0..10 {
        store.create("k", &n.to_string(), json!({})).await;
    }
    let (pages, _) = store.pages(&store.ranges().await[0], FeedStart::Beginning, 4).await;
    assert!(pages.iter().all(|page| page.changes.len() <= 4), "a page has at most 4 changes");
    assert_eq!(pages.iter().map(|page| page.changes.len()).sum::<usize>(), 10);
    let head = pages.last().map(|page| page.head_lsn);
    assert!(pages.iter().all(|page| Some(page.head_lsn) == head), "the head is the range's, not the page's");
}

pub async fn a_transaction_is_never_cut(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    store.create("k", "before", json!({})).await;
    for batch in 0..3 {
        store.commit("k", (0..7).map(|n| create("k", &format!("{batch}-{n}"), json!({}))).collect()).await;
    }
    store.create("k", "after", json!({})).await;
    for items_max in [1, 3, 8] {
        let (pages, _) = store.pages(&store.ranges().await[0], FeedStart::Beginning, items_max).await;
        let lsns: Vec<BTreeSet<u64>> =
            pages.iter().map(|page| page.changes.iter().map(|change| change.lsn).collect()).collect();
        assert!(lsns.windows(2).all(|pair| pair[0].is_disjoint(&pair[1])), "pages of {items_max}: {lsns:?}");
        let largest = pages.iter().map(|page| page.changes.len()).max();
        assert!(largest <= Some(items_max.max(7) + 7), "only a transaction may exceed the page: {largest:?}");
        assert_eq!(pages.iter().map(|page| page.changes.len()).sum::<usize>(), 23);
    }
}

pub async fn reading_goes_on_from_any_position(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    for n in 0..12 {
        store.create(&format!("k{}", n % 3), &format!("d{n}"), json!({})).await;
    }
    let range = &store.ranges().await[0];
    let all = ids(&store.changes(range, FeedStart::Beginning).await);
    let (pages, _) = store.pages(range, FeedStart::Beginning, 1).await;
    for (index, page) in pages.iter().enumerate() {
        let rest = store.changes(range, FeedStart::Position(page.position.clone())).await;
        assert_eq!(ids(&rest), all[index + 1..], "after change {index}");
    }
}

pub async fn an_overwritten_change_does_not_disturb_positions_around_it(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    for n in 0..6 {
        store.create("k", &format!("d{n}"), json!({})).await;
    }
    let range = &store.ranges().await[0];
    let (pages, _) = store.pages(range, FeedStart::Beginning, 2).await;
    store.upsert("k", "d1", json!({})).await;
    store.delete("k", "d3", None).await.expect("it is there");
    let rest = store.changes(range, FeedStart::Position(pages[0].position.clone())).await;
    assert_eq!(ids(&rest), ["d2", "d4", "d5", "d1"]);
}

pub async fn now_begins_after_all_there_is(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    store.create("k", "old", json!({})).await;
    let range = &store.ranges().await[0];
    let page = store.page(range, &FeedStart::Now, 10).await;
    assert!(page.changes.is_empty(), "{:?}", ids(&page.changes));
    store.create("k", "new", json!({})).await;
    let later = store.changes(range, FeedStart::Position(page.position)).await;
    assert_eq!(ids(&later), ["new"]);
}

pub async fn a_time_begins_with_what_was_written_after_it(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    store.create("k", "early", json!({})).await;
    if !harness.advance(10).await {
        return super::skipped("a_time_begins_with_what_was_written_after_it");
    }
    store.create("k", "late", json!({})).await;
    let range = &store.ranges().await[0];
    let all = store.changes(range, FeedStart::Beginning).await;
    let first = all[0].timestamp_seconds;
    let from = async |seconds: i64| {
        let time = Timestamp::from_second(first + seconds).expect("the suite runs in this era");
        ids(&store.changes(range, FeedStart::Time(time)).await)
    };
    assert_eq!(from(-5).await, ["early", "late"]);
    assert_eq!(from(5).await, ["late"]);
    assert_eq!(from(15).await, [""; 0]);
    // An overwritten document counts by its latest write.
    store.upsert("k", "early", json!({})).await;
    assert_eq!(from(5).await, ["late", "early"]);
}

pub async fn the_end_of_the_feed_stands_still_until_something_is_written(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let range = &store.ranges().await[0];
    for round in 0..3 {
        let (_, end) = store.pages(range, FeedStart::Beginning, 10).await;
        let again = store.page(range, &FeedStart::Position(end.clone()), 10).await;
        assert!(again.changes.is_empty());
        assert_eq!(again.position, end, "an empty page ends where it began");
        let name = format!("d{round}");
        store.create("k", &name, json!({})).await;
        assert_eq!(ids(&store.changes(range, FeedStart::Position(end)).await), [name]);
    }
}

pub async fn an_empty_container_has_an_empty_feed(harness: &dyn Harness) {
    let store = Fixture::with(harness, |spec| spec.partitions(3)).await;
    for range in store.ranges().await {
        for start in [FeedStart::Beginning, FeedStart::Now] {
            let page = store.page(&range, &start, 10).await;
            assert!(page.changes.is_empty());
            let again = store.page(&range, &FeedStart::Position(page.position), 10).await;
            assert!(again.changes.is_empty());
        }
    }
}

pub async fn a_range_across_partitions_is_gone(harness: &dyn Harness) {
    let store = Fixture::with(harness, |spec| spec.partitions(2)).await;
    if store.ranges().await.len() < 2 {
        return super::skipped("a_range_across_partitions_is_gone");
    }
    let page = store.container.read_page(&FeedRange::full(), &FeedStart::Beginning, 10).await;
    assert_refused(page, ErrorKind::Gone, "reading two partitions as one range");
}

pub async fn a_page_costs_what_it_holds(harness: &dyn Harness) {
    let small = Fixture::new(harness).await;
    let large = Fixture::new(harness).await;
    for n in 0..500 {
        if n < 5 {
            small.create("k", &format!("d{n:03}"), json!({})).await;
        }
        large.create("k", &format!("d{n:03}"), json!({})).await;
    }
    let charge =
        async |store: &Fixture| store.page(&store.ranges().await[0], &FeedStart::Beginning, 5).await.charge.units();
    let (of_few, of_many) = (charge(&small).await, charge(&large).await);
    assert!(of_many <= of_few * 1.5, "five changes cost {of_few} RU of 5, and {of_many} RU of 500");
}
