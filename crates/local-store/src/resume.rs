use feedmill_store_api::Error;
use serde_json::Value;

use crate::error::invalid;
use crate::rid;
use crate::value::{self, Found};

/// A point in the order of a query: clients that put the answers of several partitions together go on from there, whatever was
/// split or merged since.
#[derive(Clone, Debug, PartialEq)]
pub struct ResumeFilter {
    /// For each path of ORDER BY; `None` where there is nothing.
    pub values: Vec<Option<Value>>,
    /// Which of several documents with these values; `None` for all of them.
    pub rid: Option<String>,
    /// Whether what is exactly there is left out.
    pub exclude: bool,
}

/// Documents with equal values are ordered by when they were made, which is the order of their resource ids, in the direction of the
/// first path: so clients expect it who put the answers of several partitions together.
pub(crate) fn tie(created: u64, slots: &[(usize, bool)]) -> [u8; 8] {
    let is_descending = slots.first().is_some_and(|(_, descending)| *descending);
    (if is_descending { !created } else { created }).to_be_bytes()
}

/// A point in the order of sort keys.
pub(crate) struct Start {
    key: Vec<u8>,
    exclude: bool,
}

impl Start {
    pub(crate) fn new(resume: &ResumeFilter, slots: &[(usize, bool)]) -> Result<Self, Error> {
        let refuse = |why: &str| invalid(format!("go on with a query from {:?}: {why}", resume.values));
        if resume.values.len() != slots.len() {
            return Err(refuse("its ORDER BY has another number of paths"));
        }
        let mut key = Vec::with_capacity(64);
        for (value, &(_, descending)) in resume.values.iter().zip(slots) {
            value::encode(&value.as_ref().map_or(Found::Undefined, Found::from), descending, &mut key);
        }
        if let Some(rid) = &resume.rid {
            let created = rid::number(rid).ok_or_else(|| refuse("its rid is none of a document"))?;
            key.extend(tie(created, slots));
        }
        Ok(Self { key, exclude: resume.exclude })
    }

    pub(crate) fn is_before(&self, key: &[u8]) -> bool {
        // Without a rid all keys with these values begin as this one.
        let is_there = key.starts_with(&self.key);
        if is_there { self.exclude } else { key < self.key.as_slice() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_of_the_order_is_between_its_neighbours_in_both_directions() {
        let key = |value: f64, created: u64, descending: bool| {
            let mut key = Vec::new();
            value::encode(&Found::Number(value), descending, &mut key);
            key.extend(tie(created, &[(0, descending)]));
            key
        };
        for descending in [false, true] {
            let start = |rid: Option<u64>, exclude| {
                let rid = rid.map(|number| rid::document(1, 2, number));
                let resume = ResumeFilter { values: vec![Some(Value::from(5))], rid, exclude };
                Start::new(&resume, &[(0, descending)]).unwrap()
            };
            let (mut before, mut after) = ((4.0, 6), (6.0, 8));
            if descending {
                (before, after) = ((6.0, 8), (4.0, 6));
            }
            let is_before = |start: &Start, (value, created)| start.is_before(&key(value, created, descending));
            for exclude in [false, true] {
                for start in [start(Some(7), exclude), start(None, exclude)] {
                    assert!(is_before(&start, before) && !is_before(&start, after));
                    assert_eq!(is_before(&start, (5.0, 7)), exclude);
                }
                assert!(is_before(&start(Some(7), exclude), (5.0, before.1)));
                assert!(!is_before(&start(Some(7), exclude), (5.0, after.1)));
                assert_eq!(is_before(&start(None, exclude), (5.0, before.1)), exclude);
            }
        }
    }
}
