use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::Value;

use crate::aggregate::State;
use crate::bound::render;
use crate::eval::{Scope, eval};
use crate::expand::expand;
use crate::grouping::Grouping;
use crate::value::Ranked;
use crate::{Bound, Row, SortKey};

/// Gathers documents into a query's results. Holds what the results need: groups, distinct values, or with a limit at
/// most twice that many results.
pub struct Accumulator<'q> {
    query: &'q Bound,
    groups: BTreeMap<Vec<Ranked>, Vec<State>>,
    results: Results,
}

impl<'q> Accumulator<'q> {
    pub(crate) fn new(query: &'q Bound) -> Self {
        let mut groups = BTreeMap::new();
        if let Some(grouping) = &query.grouping
            && query.group_by.is_empty()
        {
            // A total exists even of nothing.
            groups.insert(Vec::new(), states(grouping));
        }
        Self { query, groups, results: Results::new(query) }
    }

    /// One document; WHERE is judged here. Ties of ORDER BY keep the order of pushing. Ask [`Row::judge`] afterwards.
    pub fn push(&mut self, row: &Row<'_>) {
        self.push_within(&Scope::of(row));
    }

    /// All that the query's own sources give where the names of `scope` are known.
    pub(crate) fn push_within(&mut self, scope: &Scope<'_>) {
        // It stops at a document that has no answer, which the row knows.
        let _done = expand(&self.query.sources, scope, &mut |scope| {
            self.push_one(scope);
            ControlFlow::Continue(())
        });
    }

    fn push_one(&mut self, scope: &Scope<'_>) {
        if !self.query.holds(scope) {
            return;
        }
        let Some(grouping) = &self.query.grouping else {
            if let Some(text) = self.query.result(scope) {
                self.results.push(self.query.sort_key(scope), text);
            }
            return;
        };
        let value = |expr| eval(expr, scope).map(std::borrow::Cow::into_owned);
        let keys = self.query.group_by.iter().map(|expr| Ranked(value(expr))).collect();
        let group = self.groups.entry(keys).or_insert_with(|| states(grouping));
        for (state, (_, argument)) in group.iter_mut().zip(&grouping.aggregates) {
            state.push(eval(argument, scope).as_deref());
        }
    }

    /// The results' JSON texts. Groups come in the order of their keys.
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        if let Some(grouping) = &self.query.grouping {
            for (keys, states) in self.groups {
                let results: Vec<Option<Value>> = states.into_iter().map(State::result).collect();
                if let Some(text) = render(&grouping.projection, &Scope::Group { keys: &keys, results: &results }) {
                    self.results.push(SortKey::default(), text);
                }
            }
        }
        self.results.finish(self.query)
    }
}

fn states(grouping: &Grouping) -> Vec<State> {
    grouping.aggregates.iter().map(|(kind, _)| State::new(*kind)).collect()
}

/// Where a result stands: by ORDER BY, then by arrival.
type Rank = (SortKey, u64);

struct Results {
    pushed: u64,
    /// No result beyond this many in order is ever given. DISTINCT keeps all: which are distinct is known at the end.
    keep: Option<usize>,
    found: Vec<(Rank, Vec<u8>)>,
    /// For DISTINCT: each value at the best rank it was seen at.
    distinct: Option<BTreeMap<Ranked, (Rank, Vec<u8>)>>,
}

impl Results {
    fn new(query: &Bound) -> Self {
        let end = query.limit().map(|limit| query.offset().saturating_add(limit));
        Self {
            pushed: 0,
            keep: end.and_then(|end| usize::try_from(end).ok()),
            found: Vec::new(),
            distinct: query.distinct.then(BTreeMap::new),
        }
    }

    fn push(&mut self, key: SortKey, text: Vec<u8>) {
        let rank = (key, self.pushed);
        self.pushed += 1;
        if let Some(distinct) = &mut self.distinct {
            // The text is our own or a stored document's, so it is JSON.
            let value = Ranked(serde_json::from_slice(&text).ok());
            let seen = distinct.get(&value);
            if seen.is_none_or(|(best, _)| rank < *best) {
                distinct.insert(value, (rank, text));
            }
            return;
        }
        self.found.push((rank, text));
        // Cutting only once as much again has come keeps the sorting to a constant share of each push.
        if let Some(keep) = self.keep
            && self.found.len() > keep.saturating_mul(2).max(64)
        {
            self.found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            self.found.truncate(keep);
        }
    }

    fn finish(mut self, query: &Bound) -> Vec<Vec<u8>> {
        self.found.extend(self.distinct.into_iter().flat_map(BTreeMap::into_values));
        self.found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let offset = usize::try_from(query.offset()).unwrap_or(usize::MAX);
        let limit = query.limit().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        self.found.into_iter().skip(offset).take(limit).map(|(_, text)| text).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::bound::tests::results;
    use crate::parse;

    const DOCUMENTS: [&str; 6] = [
        r#"{"id":1,"a":2}"#,
        r#"{"id":2,"a":"x"}"#,
        r#"{"id":3}"#,
        r#"{"id":4,"a":null}"#,
        r#"{"id":5,"a":2.0}"#,
        r#"{"id":6,"a":1,"deletedAt":1}"#,
    ];

    #[test]
    fn order_by_sorts_across_types_and_keeps_ties_in_their_order() {
        let cases = [
            ("SELECT VALUE c.id FROM c ORDER BY c.a", "3 4 6 1 5 2"),
            ("SELECT VALUE c.id FROM c ORDER BY c.a DESC", "2 1 5 6 4 3"),
            ("SELECT VALUE c.id FROM c ORDER BY c.a DESC, c.id DESC", "2 5 1 6 4 3"),
            ("SELECT VALUE c.id FROM c ORDER BY c.a ASC, c.id DESC", "3 4 6 5 1 2"),
            ("SELECT TOP 2 VALUE c.id FROM c ORDER BY c.a", "3 4"),
            ("SELECT TOP 0 VALUE c.id FROM c", ""),
            ("SELECT VALUE c.id FROM c ORDER BY c.a OFFSET 1 LIMIT 3", "4 6 1"),
            ("SELECT VALUE c.id FROM c OFFSET 4 LIMIT 9", "5 6"),
            ("SELECT VALUE c.id FROM c WHERE NOT IS_DEFINED(c.deletedAt)", "1 2 3 4 5"),
        ];
        for (query, expected) in cases {
            assert_eq!(results(query, &DOCUMENTS).join(" "), expected, "{query}");
        }
    }

    #[test]
    fn distinct_compares_values_not_texts() {
        assert_eq!(results("SELECT DISTINCT VALUE c.a FROM c", &DOCUMENTS), ["2", "\"x\"", "null", "1"]);
        assert_eq!(
            results("SELECT DISTINCT VALUE c.a FROM c ORDER BY c.a DESC", &DOCUMENTS),
            ["\"x\"", "2", "1", "null"]
        );
        assert_eq!(results("SELECT DISTINCT TOP 1 c.a FROM c ORDER BY c.id DESC", &DOCUMENTS), [r#"{"a":1}"#]);
        assert_eq!(results("SELECT DISTINCT * FROM c", &[r#"{"a":1}"#, r#"{ "a": 1.0 }"#]), [r#"{"a":1}"#]);
    }

    proptest! {
        #[test]
        fn a_limit_gives_the_beginning_of_the_whole_order(values in proptest::collection::vec(0..50_u32, 0..400), offset in 0..20_usize, limit in 0..40_usize) {
            let documents: Vec<String> = values.iter().map(|value| format!("{{\"a\":{value}}}")).collect();
            let run = |query: &str| {
                let query = parse(query).unwrap().bind([]).unwrap();
                let mut accumulator = query.accumulator();
                for document in &documents {
                    accumulator.push(&query.row(document.as_bytes()).unwrap());
                }
                accumulator.finish()
            };
            let all = run("SELECT VALUE c.a FROM c ORDER BY c.a DESC");
            let some = run(&format!("SELECT VALUE c.a FROM c ORDER BY c.a DESC OFFSET {offset} LIMIT {limit}"));
            let expected: Vec<_> = all.into_iter().skip(offset).take(limit).collect();
            prop_assert_eq!(some, expected);
        }
    }
}
