//! Queries: what they find, in which order, page by page.

use std::collections::BTreeSet;
use std::error::Error as _;

use serde_json::{Value, json};

use super::Harness;
use super::fixture::{Fixture, assert_refused, content, key, parse};
use crate::{ContainerSpec, ErrorKind, Order, PageRequest, PartitionKey, Query, ReadLevel, Scope};

fn by_author_and_time(spec: ContainerSpec) -> ContainerSpec {
    spec.composite_index(&[("/authorId", Order::Ascending), ("/createdAt", Order::Descending)])
        .composite_index(&[("/createdAt", Order::Descending), ("/postId", Order::Ascending)])
}

/// Thirty posts in one partition, several of one time, and one in another partition.
async fn posts(harness: &dyn Harness) -> Fixture {
    let store = Fixture::with(harness, by_author_and_time).await;
    for n in 0..30 {
        // 7 and 30 have no common factor: neither ids nor insertion follow time.
        store.create("k", &format!("p{n:02}"), post((n * 7) % 30)).await;
    }
    store.create("elsewhere", "p99", post(99)).await;
    store
}

fn post(rank: i64) -> Value {
    json!({
        "authorId": format!("a{}", rank % 2),
        "createdAt": format!("2024-01-{:02}", rank / 2 + 1),
        "postId": format!("r{rank:02}"),
        "rank": rank,
    })
}

fn ranks(results: &[Value]) -> Vec<i64> {
    results.iter().filter_map(Value::as_i64).collect()
}

pub async fn a_filter_finds_what_it_describes(harness: &dyn Harness) {
    let store = posts(harness).await;
    let query = Query::new(
        "SELECT VALUE c.rank FROM c WHERE c.rank >= @low AND c.authorId IN (@a, @b) AND NOT IS_DEFINED(c.deletedAt)",
    )
    .with("@low", 26)
    .with("@a", "a1")
    .with("@b", "nobody");
    let mut found = ranks(&store.query(&key("k"), &query, 100).await);
    found.sort_unstable();
    assert_eq!(found, [27, 29]);
    let by_id = Query::new("SELECT VALUE c.rank FROM c WHERE c.id = @id").with("@id", "p01");
    assert_eq!(ranks(&store.query(&key("k"), &by_id, 100).await), [7]);
    assert!(store.query(&key("nobody"), &by_id, 100).await.is_empty());
}

pub async fn a_partition_or_the_whole_container_is_searched(harness: &dyn Harness) {
    let store = Fixture::with(harness, |spec| spec.partitions(3)).await;
    for n in 0..24 {
        store.create(&format!("k{}", n % 8), &format!("d{n}"), json!({ "n": n })).await;
    }
    let query = Query::new("SELECT VALUE c.n FROM c");
    for items_max in [1, 5, 100] {
        let mut one = ranks(&store.query(&key("k3"), &query, items_max).await);
        one.sort_unstable();
        assert_eq!(one, [3, 11, 19]);
        let mut all = ranks(&store.query(&Scope::Container, &query, items_max).await);
        all.sort_unstable();
        assert_eq!(all, (0..24).collect::<Vec<_>>());
    }
    let ordered = Query::new("SELECT VALUE c.n FROM c ORDER BY c.n DESC");
    assert_eq!(ranks(&store.query(&Scope::Container, &ordered, 5).await), (0..24).rev().collect::<Vec<_>>());
    let count = Query::new("SELECT VALUE COUNT(1) FROM c");
    match store.query_page(&Scope::Container, &count, &PageRequest::first(100)).await {
        Ok(_) => assert_eq!(store.query(&Scope::Container, &count, 100).await, [json!(24)]),
        refused => drop(assert_refused(refused, ErrorKind::Invalid, "a count over all keys")),
    }
}

pub async fn an_order_is_kept_over_pages_in_both_directions(harness: &dyn Harness) {
    let store = posts(harness).await;
    let newest_first = |rank: &i64| (-(rank / 2), *rank);
    let mut expected: Vec<i64> = (0..30).collect();
    expected.sort_by_key(newest_first);
    for items_max in [1, 4, 100] {
        let down = Query::new("SELECT VALUE c.rank FROM c ORDER BY c.createdAt DESC, c.postId ASC");
        assert_eq!(ranks(&store.query(&key("k"), &down, items_max).await), expected, "pages of {items_max}");
        let up = Query::new("SELECT VALUE c.rank FROM c ORDER BY c.createdAt ASC, c.postId DESC");
        let reversed: Vec<_> = expected.iter().rev().copied().collect();
        assert_eq!(ranks(&store.query(&key("k"), &up, items_max).await), reversed, "pages of {items_max}");
        let one =
            Query::new("SELECT VALUE c.rank FROM c WHERE c.authorId = @author ORDER BY c.authorId, c.createdAt DESC")
                .with("@author", "a1");
        let of_one: Vec<_> = expected.iter().filter(|rank| *rank % 2 == 1).copied().collect();
        assert_eq!(ranks(&store.query(&key("k"), &one, items_max).await), of_one, "pages of {items_max}");
    }
}

pub async fn an_ordered_query_may_begin_anywhere(harness: &dyn Harness) {
    let store = posts(harness).await;
    let text = "SELECT VALUE c.rank FROM c \
                WHERE c.createdAt < @time OR (c.createdAt = @time AND c.postId > @post) \
                ORDER BY c.createdAt DESC, c.postId ASC";
    let after = post(20);
    let query = Query::new(text).with("@time", after["createdAt"].clone()).with("@post", after["postId"].clone());
    let mut expected: Vec<i64> = (0..20).collect();
    expected.sort_by_key(|rank| (-(rank / 2), *rank));
    expected.insert(0, 21);
    assert_eq!(ranks(&store.query(&key("k"), &query, 7).await), expected);
}

pub async fn an_order_ranks_types_as_the_service_does(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let ascending = [
        json!(null),
        json!(false),
        json!(true),
        json!(-1.5),
        json!(0),
        json!(2),
        json!(10),
        json!("10"),
        json!("a"),
        json!("é"),
    ];
    for (n, value) in ascending.iter().enumerate().rev() {
        store.create("k", &format!("d{n}"), json!({ "v": value, "n": n })).await;
    }
    let query = |order: &str| Query::new(format!("SELECT VALUE c.n FROM c WHERE IS_DEFINED(c.v) ORDER BY c.v {order}"));
    let expected: Vec<i64> = (0..10).collect();
    assert_eq!(ranks(&store.query(&key("k"), &query("ASC"), 3).await), expected);
    let reversed: Vec<i64> = (0..10).rev().collect();
    assert_eq!(ranks(&store.query(&key("k"), &query("DESC"), 3).await), reversed);
}

pub async fn pages_stay_whole_while_others_write(harness: &dyn Harness) {
    let texts = [
        "SELECT VALUE c.id FROM c",
        "SELECT VALUE c.id FROM c ORDER BY c.createdAt DESC, c.postId ASC",
        "SELECT VALUE c.id FROM c WHERE c.rank >= 0 ORDER BY c.createdAt ASC, c.postId DESC",
    ];
    for text in texts {
        let store = posts(harness).await;
        let mut found = Vec::new();
        let mut request = PageRequest::first(4);
        let mut round = 0;
        loop {
            let page = store.query_page(&key("k"), &Query::new(text), &request).await.expect("the query is good");
            found.extend(page.items.iter().filter_map(|item| parse(item).as_str().map(str::to_owned)));
            let Some(continuation) = page.continuation else { break };
            request.continuation = Some(continuation);
            // New ones at both ends and in the middle, one gone, one moved.
            for rank in [0, 15, 29] {
                store.upsert("k", &format!("new{round}-{rank}"), post(rank)).await;
            }
            store.upsert("k", "p00", post(round % 30)).await;
            if round == 0 {
                store.delete("k", "p29", None).await.expect("it is there");
            }
            round += 1;
            assert!(round < 100, "{text}: pages never end");
        }
        let untouched: BTreeSet<_> = (1..29).map(|n| format!("p{n:02}")).collect();
        for name in &untouched {
            let times = found.iter().filter(|found| *found == name).count();
            assert_eq!(times, 1, "{text}: {name} was there all the time");
        }
    }
}

pub async fn aggregates_and_groups(harness: &dyn Harness) {
    let store = posts(harness).await;
    for items_max in [1, 100] {
        let one = async |text: &'static str| store.query(&key("k"), &Query::new(text), items_max).await;
        assert_eq!(one("SELECT VALUE COUNT(1) FROM c").await, [json!(30)]);
        assert_eq!(one("SELECT VALUE COUNT(1) FROM c WHERE c.rank < 3").await, [json!(3)]);
        assert_eq!(one("SELECT VALUE COUNT(1) FROM c WHERE c.rank > 1000").await, [json!(0)]);
        let numbers = "SELECT MIN(c.rank) AS low, MAX(c.rank) AS high, SUM(c.rank) AS sum, AVG(c.rank) AS mean FROM c";
        assert_eq!(one(numbers).await, [json!({ "low": 0, "high": 29, "sum": 435, "mean": 14.5 })]);
        let mut groups = one("SELECT c.authorId AS author, COUNT(1) AS n FROM c GROUP BY c.authorId").await;
        groups.sort_by_key(Value::to_string);
        assert_eq!(groups, [json!({ "author": "a0", "n": 15 }), json!({ "author": "a1", "n": 15 })]);
        let mut distinct = one("SELECT DISTINCT VALUE c.authorId FROM c").await;
        distinct.sort_by_key(Value::to_string);
        assert_eq!(distinct, [json!("a0"), json!("a1")]);
    }
    let nobody = Query::new("SELECT VALUE COUNT(1) FROM c");
    assert_eq!(store.query(&key("nobody"), &nobody, 100).await, [json!(0)], "a count of nothing is zero");
}

pub async fn what_documents_have_in_arrays_is_joined_page_by_page(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let bodies = [json!({ "tags": ["x", "y", "z"] }), json!({}), json!({ "tags": ["y"] }), json!({ "tags": "x" })];
    for (n, body) in bodies.iter().enumerate() {
        let mut body = body.clone();
        body["n"] = json!(n);
        store.upsert("k", &format!("d{n}"), body).await;
    }
    for items_max in [1, 2, 100] {
        let all = async |text: &'static str| store.query(&key("k"), &Query::new(text), items_max).await;
        let pairs = [json!([0, "x"]), json!([0, "y"]), json!([0, "z"]), json!([2, "y"])];
        assert_eq!(all("SELECT VALUE [c.n, t] FROM c JOIN t IN c.tags").await, pairs, "pages of {items_max}");
        assert_eq!(all("SELECT VALUE [c.n, t] FROM c JOIN t IN c.tags OFFSET 1 LIMIT 2").await, pairs[1..3]);
        let ordered = all("SELECT VALUE [c.n, t] FROM c JOIN t IN c.tags ORDER BY c.n DESC").await;
        assert_eq!(ordered, [3, 0, 1, 2].map(|at: usize| pairs[at].clone()), "pages of {items_max}");
        let by_element = all("SELECT VALUE t FROM c JOIN t IN c.tags ORDER BY t DESC").await;
        assert_eq!(by_element, ["z", "y", "y", "x"].map(|tag| json!(tag)), "pages of {items_max}");
        let having = "SELECT VALUE c.n FROM c WHERE EXISTS(SELECT VALUE t FROM t IN c.tags WHERE t = 'y')";
        assert_eq!(all(having).await, [json!(0), json!(2)]);
        let counted = "SELECT VALUE (SELECT VALUE COUNT(1) FROM t IN c.tags) FROM c";
        assert_eq!(all(counted).await, [json!(3), json!(0), json!(1), json!(0)]);
        assert_eq!(all("SELECT VALUE COUNT(1) FROM c JOIN t IN c.tags").await, [json!(4)]);
    }
}

pub async fn a_limit_counts_over_all_pages(harness: &dyn Harness) {
    let store = posts(harness).await;
    for items_max in [1, 3, 100] {
        let top = Query::new("SELECT TOP @n VALUE c.rank FROM c ORDER BY c.createdAt DESC, c.postId ASC").with("@n", 5);
        assert_eq!(ranks(&store.query(&key("k"), &top, items_max).await), [28, 29, 26, 27, 24], "pages of {items_max}");
        let window = Query::new("SELECT VALUE c.rank FROM c ORDER BY c.createdAt DESC, c.postId ASC OFFSET 2 LIMIT 4");
        assert_eq!(ranks(&store.query(&key("k"), &window, items_max).await), [26, 27, 24, 25], "pages of {items_max}");
    }
    let none = Query::new("SELECT TOP 0 * FROM c");
    assert!(store.query(&key("k"), &none, 10).await.is_empty());
}

pub async fn a_whole_document_is_what_a_read_gives(harness: &dyn Harness) {
    let store = posts(harness).await;
    let query = Query::new("SELECT * FROM c WHERE c.id = 'p03'");
    let found = store.query(&key("k"), &query, 10).await;
    let read = store.read("k", "p03").await.expect("it is there");
    assert_eq!(found, [parse(&read.body)], "system fields included");
    let projected = Query::new("SELECT c.id, c.rank AS r, c._etag, {a: c.authorId} AS o FROM c WHERE c.id = 'p03'");
    let expected = json!({ "id": "p03", "r": 21, "_etag": read.etag.as_str(), "o": { "a": "a1" } });
    assert_eq!(store.query(&key("k"), &projected, 10).await, [expected]);
    assert_eq!(content(&read.body)["rank"], 21);
}

pub async fn the_stores_own_fields_are_there_however_they_are_asked_for(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    store.create("k", "a", json!({ "n": 1 })).await;
    let document = parse(&store.read("k", "a").await.expect("it is there").body);
    let etag = document["_etag"].clone();
    let cases = [
        (Query::new("SELECT VALUE c._etag FROM c"), etag.clone()),
        (Query::new("SELECT VALUE c[@name] FROM c").with("@name", "_etag"), etag.clone()),
        (Query::new("SELECT VALUE c.id FROM c WHERE c[@n] = @e").with("@n", "_etag").with("@e", etag), json!("a")),
        (Query::new("SELECT c FROM c"), json!({ "c": document })),
        (Query::new("SELECT VALUE {d: c} FROM c"), json!({ "d": document })),
        (Query::new("SELECT DISTINCT * FROM c"), document),
    ];
    for (query, expected) in cases {
        assert_eq!(store.query(&key("k"), &query, 10).await, [expected], "{}", query.text);
    }
}

pub async fn a_path_left_out_of_the_index_still_answers(harness: &dyn Harness) {
    let store = Fixture::with(harness, |spec| spec.exclude("/_source/*")).await;
    store.create("k", "a", json!({ "_source": { "id": "x" } })).await;
    store.create("k", "b", json!({ "_source": { "id": "y" } })).await;
    let query = Query::new("SELECT VALUE c.id FROM c WHERE c._source.id = 'y'");
    assert_eq!(store.query(&key("k"), &query, 10).await, [json!("b")]);
}

pub async fn a_query_that_makes_no_sense_is_refused_with_its_place(harness: &dyn Harness) {
    let store = posts(harness).await;
    for text in ["SELECT * FROM c WHERE c.a = = 1", "SELEC * FROM c", "", "SELECT * FROM c WHERE NO_SUCH_FUNCTION(c.a)"]
    {
        let page = store.query_page(&key("k"), &Query::new(text), &PageRequest::first(10)).await;
        let error = assert_refused(page, ErrorKind::Invalid, text);
        let mut said = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            said = format!("{said}: {inner}");
            source = inner.source();
        }
        assert!(["column", "location"].iter().any(|word| said.contains(word)), "{text}: {said}");
    }
    let missing = Query::new("SELECT * FROM c WHERE c.rank = @rank").with("@other", 1);
    let page = store.query_page(&key("k"), &missing, &PageRequest::first(10)).await;
    let error = assert_refused(page, ErrorKind::Invalid, "a query whose parameter is missing");
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(format!("{error} {source}").contains("@rank"), "{error} {source}");
}

pub async fn a_page_of_an_indexed_order_costs_what_it_holds(harness: &dyn Harness) {
    let small = Fixture::with(harness, by_author_and_time).await;
    let large = Fixture::with(harness, by_author_and_time).await;
    for n in 0..500 {
        let document = json!({ "createdAt": format!("t{n:04}"), "postId": "p" });
        if n < 10 {
            small.create("k", &format!("p{n}"), document.clone()).await;
        }
        large.create("k", &format!("p{n}"), document).await;
    }
    let query = Query::new("SELECT * FROM c ORDER BY c.createdAt DESC, c.postId ASC");
    let charge = async |store: &Fixture| {
        let scope = Scope::Partition(PartitionKey::from("k"));
        let page = store.container.query(&scope, &query, &PageRequest::first(10), &ReadLevel::Quorum).await;
        page.expect("the query is good").charge.units()
    };
    let (of_few, of_many) = (charge(&small).await, charge(&large).await);
    assert!(of_many <= of_few * 1.5, "ten results cost {of_few} RU of 10, and {of_many} RU of 500");
}
