use feedmill_query::{Bound, Interval, OrderKey};

use crate::epk::EffectiveKey;
use crate::keys;
use crate::schema::{CompositeIndex, Schema};
use crate::storage::{Direction, Table, after_prefix};
use crate::value::{self, Found};

/// Which entries of which table a query walks along.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) table: Table,
    pub(crate) from: Vec<u8>,
    pub(crate) to: Vec<u8>,
    pub(crate) direction: Direction,
    /// Whether that is the order the query asks for.
    pub(crate) ordered: bool,
    /// Names the walk in continuation tokens.
    pub(crate) name: String,
}

/// The cheapest walk that has every document the query can match, in its order if there is such a walk.
pub(crate) fn plan(schema: &Schema, key: Option<&EffectiveKey>, query: &Bound) -> Plan {
    let order = query.order_keys();
    let Some(key) = key else {
        let ordered = order.is_some_and(|order| order.is_empty());
        return documents(&[], &Interval::default(), Direction::Forward, ordered);
    };
    let key_paths = schema.spec.partition_key.iter().map(|path| path.trim_start_matches('/').split('/'));
    let key_paths = key_paths.map(Iterator::collect::<Vec<_>>).collect::<Vec<_>>();
    let ids = query.interval(&["id"]);
    let Some(mut order) = order else {
        return documents(key, &ids, Direction::Forward, false);
    };
    // Constant within the partition key.
    order.retain(|wanted| !key_paths.contains(&wanted.path.iter().map(String::as_str).collect()));
    if is_point(&ids) {
        return documents(key, &ids, Direction::Forward, true);
    }
    if let [wanted] = order.as_slice()
        && wanted.path == ["id"]
    {
        let direction = if wanted.descending { Direction::Backward } else { Direction::Forward };
        return documents(key, &ids, direction, true);
    }
    let by_index = (0..).zip(&schema.indexes).find_map(|(number, index)| along(key, number, index, &order, query));
    by_index.unwrap_or_else(|| documents(key, &ids, Direction::Forward, order.is_empty()))
}

/// Along the documents of one key (or of all: `key` is empty) by id.
fn documents(key: &[u8], ids: &Interval, direction: Direction, ordered: bool) -> Plan {
    let text =
        |edge: &Option<feedmill_query::Edge>| edge.as_ref().and_then(|edge| edge.value.as_str().map(str::to_owned));
    let from = text(&ids.lower).map_or(key.to_vec(), |id| [key, id.as_bytes()].concat());
    let to = match text(&ids.upper) {
        Some(id) => [key, id.as_bytes(), &[0]].concat(),
        None => after_prefix(key).unwrap_or_else(|| vec![u8::MAX]),
    };
    let name = if direction == Direction::Forward { "d" } else { "b" };
    Plan { table: Table::Documents, from, to, direction, ordered, name: name.to_owned() }
}

/// Along an index, if that gives `order`, or narrows the search of a query that wants none.
///
/// Paths that WHERE fixes to one value are constant on the walk, so they may stand before those of the order.
fn along(key: &EffectiveKey, number: u8, index: &CompositeIndex, order: &[OrderKey], query: &Bound) -> Option<Plan> {
    let prefix = keys::index_prefix(key, number);
    let mut fixed = prefix.clone();
    let mut bounds = None;
    let mut wanted = order.iter().peekable();
    let mut backward = None;
    for term in &index.terms {
        let interval = query.interval(&term.path.iter().map(String::as_str).collect::<Vec<_>>());
        let is_next = wanted.peek().is_some_and(|wanted| wanted.path == term.path);
        if is_next && let Some(wanted) = wanted.next() {
            let turned = wanted.descending != term.descending;
            if *backward.get_or_insert(turned) != turned {
                return None;
            }
        }
        if bounds.is_none() {
            let (from, to) = edges(&fixed, &interval, term.descending);
            if is_point(&interval) {
                fixed = from;
                continue;
            }
            bounds = Some((from, to));
        }
        if !is_next {
            break;
        }
    }
    if wanted.next().is_some() || order.is_empty() && fixed == prefix {
        return None;
    }
    let (from, to) = match bounds {
        Some(bounds) => bounds,
        None => (fixed.clone(), after_prefix(&fixed)?),
    };
    let direction = if backward == Some(true) { Direction::Backward } else { Direction::Forward };
    let name = format!("i{number}{}", if direction == Direction::Forward { "f" } else { "b" });
    Some(Plan { table: Table::Index, from, to, direction, ordered: true, name })
}

fn edges(fixed: &[u8], interval: &Interval, descending: bool) -> (Vec<u8>, Vec<u8>) {
    let encode = |edge: &feedmill_query::Edge| {
        let mut bytes = fixed.to_vec();
        value::encode(&Found::from(&edge.value), descending, &mut bytes);
        bytes
    };
    let (first, last) = match descending {
        false => (&interval.lower, &interval.upper),
        true => (&interval.upper, &interval.lower),
    };
    // Both ends are taken in: the documents there are asked one by one, which also settles what encoding cut off.
    let from = first.as_ref().map_or(fixed.to_vec(), encode);
    let to = last.as_ref().map_or(fixed.to_vec(), encode);
    (from, after_prefix(&to).unwrap_or_else(|| vec![u8::MAX]))
}

fn is_point(interval: &Interval) -> bool {
    interval.lower.is_some() && interval.lower == interval.upper
}

#[cfg(test)]
mod tests {
    use feedmill_store_api::{ContainerSpec, Order, PartitionKey};

    use super::*;

    fn planned(text: &str) -> (String, bool) {
        use Order::{Ascending, Descending};
        let spec = ContainerSpec::new("notifications", "/recipientId")
            .composite_index(&[("/recipientId", Ascending), ("/read", Ascending), ("/createdAt", Descending)])
            .composite_index(&[("/createdAt", Descending), ("/postId", Ascending)]);
        let schema = Schema::new(spec).unwrap();
        let query = feedmill_query::parse(text).unwrap().bind([]).unwrap();
        let plan = plan(&schema, Some(&EffectiveKey::of(&PartitionKey::from("u"))), &query);
        (plan.name, plan.ordered)
    }

    #[test]
    fn a_query_walks_along_the_index_that_has_its_order() {
        for (text, name, ordered) in [
            ("SELECT * FROM c", "d", true),
            ("SELECT * FROM c ORDER BY c.id DESC", "b", true),
            ("SELECT * FROM c ORDER BY c.createdAt DESC, c.postId", "i1f", true),
            ("SELECT * FROM c ORDER BY c.createdAt ASC, c.postId DESC", "i1b", true),
            ("SELECT * FROM c ORDER BY c.createdAt ASC, c.postId ASC", "d", false),
            ("SELECT * FROM c ORDER BY c.recipientId, c.createdAt DESC", "i1f", true),
            ("SELECT * FROM c ORDER BY c.read, c.createdAt DESC", "i0f", true),
            ("SELECT * FROM c WHERE c.read = false ORDER BY c.createdAt DESC", "i0f", true),
            ("SELECT * FROM c WHERE c.read = false ORDER BY c.createdAt", "i0b", true),
            ("SELECT VALUE COUNT(1) FROM c WHERE c.read = false", "i0f", true),
            ("SELECT * FROM c ORDER BY c.kind", "d", false),
            ("SELECT * FROM c WHERE c.id = 'x' ORDER BY c.kind", "d", true),
        ] {
            assert_eq!(planned(text), (name.to_owned(), ordered), "{text}");
        }
    }
}
