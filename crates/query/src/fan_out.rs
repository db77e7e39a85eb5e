//! How a client carries a query out over several partitions: what it asks of each, and what it does with the answers. In the terms
//! of the service's query plans, which all SDKs know.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::aggregate::Aggregate;
use crate::ast::{Expr, From, Item, Ordered, Projection, Select};
use crate::{Error, Place};

/// Clients put their own condition here when they resume an ordered query.
const FILTER: &str = "{documentdb-formattableorderbyquery-filter}";

/// A query plan's `queryInfo`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FanOut {
    /// `None`, `Ordered` or `Unordered`.
    pub distinct_type: &'static str,
    pub top: Option<u64>,
    pub offset: Option<u64>,
    pub limit: Option<u64>,
    /// `Ascending` or `Descending`, for each path of ORDER BY.
    pub order_by: Vec<&'static str>,
    pub order_by_expressions: Vec<String>,
    pub group_by_expressions: Vec<String>,
    pub group_by_aliases: Vec<String>,
    pub aggregates: Vec<&'static str>,
    /// For each alias the aggregate it is, or null.
    pub group_by_alias_to_aggregate_type: BTreeMap<String, Option<&'static str>>,
    /// What to ask of each partition; empty for the query as it is.
    pub rewritten_query: String,
    pub has_select_value: bool,
    pub has_non_streaming_order_by: bool,
    /// Of COUNT over DISTINCT in a subquery, which is not here.
    pub d_count_info: Option<()>,
}

impl Select {
    /// Fails on aggregates inside larger expressions: no client could put their parts together.
    pub fn fan_out<'p>(&self, parameters: impl IntoIterator<Item = (&'p str, &'p Value)>) -> Result<FanOut, Error> {
        let bound = self.bind(parameters)?;
        let (limit, offset) = (bound.limit(), bound.offset());
        let is_top = self.top.is_some();
        let distinct_type = match (self.distinct, self.order_by.is_empty()) {
            (false, _) => "None",
            (true, true) => "Unordered",
            (true, false) => "Ordered",
        };
        let mut plan = FanOut {
            distinct_type,
            top: limit.filter(|_| is_top),
            offset: self.window.as_ref().map(|_| offset),
            limit: limit.filter(|_| !is_top),
            order_by: Vec::new(),
            order_by_expressions: Vec::new(),
            group_by_expressions: Vec::new(),
            group_by_aliases: Vec::new(),
            aggregates: Vec::new(),
            group_by_alias_to_aggregate_type: BTreeMap::new(),
            rewritten_query: String::new(),
            has_select_value: matches!(self.projection, Projection::Value(_)),
            has_non_streaming_order_by: false,
            d_count_info: None,
        };
        if bound.grouping.is_some() {
            self.grouped(&mut plan)?;
        } else if !self.order_by.is_empty() {
            self.ordered(&mut plan, limit.map(|limit| offset.saturating_add(limit)));
        } else if self.window.is_some() && !self.distinct {
            // Each partition may have to give all that is skipped, because the others may have none.
            let end = limit.map_or(u64::MAX, |limit| offset.saturating_add(limit));
            let all = Self { window: None, ..self.clone() };
            plan.rewritten_query = format!("{all} OFFSET 0 LIMIT {end}");
        } else if self.distinct && (self.window.is_some() || is_top) {
            // Two partitions may have the same value, so none can know which are the first.
            plan.rewritten_query = Self { window: None, top: None, ..self.clone() }.to_string();
        }
        Ok(plan)
    }

    fn print(&self, expr: &Expr) -> String {
        expr.shown(self.document())
    }

    /// What the document is called in what is asked of a partition.
    fn document(&self) -> &str {
        let is_taken = self.from.sources.iter().any(|source| source.name == self.from.document);
        if is_taken { "document" } else { &self.from.document }
    }

    /// `FROM c WHERE …`, with the client's condition where it takes one.
    fn source(&self, condition: Option<&str>) -> String {
        // The same, and the document has a name, which is asked for beside what the query wants.
        let mut text = From { is_named: true, ..self.from.clone() }.shown(self.document());
        let filter = self.filter.as_ref().map(|filter| self.print(filter));
        let conditions: Vec<_> =
            filter.as_deref().into_iter().chain(condition).map(|text| format!("({text})")).collect();
        if !conditions.is_empty() {
            let written = write!(text, " WHERE {}", conditions.join(" AND "));
            debug_assert!(written.is_ok(), "writing to a string does not fail");
        }
        text
    }

    fn ordered(&self, plan: &mut FanOut, keep: Option<u64>) {
        let keys: Vec<_> = self.order_by.iter().map(|key| self.print(&key.expr)).collect();
        let direction = |descending| if descending { "Descending" } else { "Ascending" };
        plan.order_by = self.order_by.iter().map(|key| direction(key.descending)).collect();
        let items: Vec<_> = keys.iter().map(|key| format!("{{\"item\": {key}}}")).collect();
        let by = |(key, by): (&String, &Ordered)| format!("{key} {}", if by.descending { "DESC" } else { "ASC" });
        let order = keys.iter().zip(&self.order_by).map(by).collect::<Vec<_>>().join(", ");
        // DISTINCT is left to the client: a value may come from several partitions, and each comes with its own _rid.
        let top = keep.filter(|_| !self.distinct).map_or(String::new(), |keep| format!("TOP {keep} "));
        plan.rewritten_query = format!(
            "SELECT {top}{}._rid, [{}] AS orderByItems, {} AS payload{} ORDER BY {order}",
            self.document(),
            items.join(", "),
            self.payload(),
            self.source(Some(FILTER)),
        );
        plan.order_by_expressions = keys;
    }

    /// What a result is, as one expression.
    fn payload(&self) -> String {
        match &self.projection {
            Projection::Whole => self.from.sources.first().map_or(&self.from.document, |source| &source.name).clone(),
            Projection::Value(expr) => self.print(expr),
            Projection::List(items) => {
                let property = |(index, item): (usize, &Item)| {
                    format!("{}: {}", Value::from(item.name(index, &self.from.document)), self.print(&item.expr))
                };
                format!("{{{}}}", items.iter().enumerate().map(property).collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn grouped(&self, plan: &mut FanOut) -> Result<(), Error> {
        plan.group_by_expressions = self.group_by.iter().map(|key| self.print(key)).collect();
        let (payload, is_bare) = match &self.projection {
            Projection::Whole => (String::new(), false),
            Projection::Value(expr) => {
                let (text, aggregate) = self.partial(expr)?;
                plan.aggregates.extend(aggregate);
                (text, self.group_by.is_empty())
            }
            Projection::List(items) => {
                let mut properties = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let name = item.name(index, &self.from.document);
                    let (text, aggregate) = self.partial(&item.expr)?;
                    properties.push(format!("{}: {text}", Value::from(name.as_str())));
                    plan.group_by_alias_to_aggregate_type.insert(name.clone(), aggregate);
                    plan.group_by_aliases.push(name);
                }
                (format!("{{{}}}", properties.join(", ")), false)
            }
        };
        let source = self.source(None);
        let keys = &plan.group_by_expressions;
        plan.rewritten_query = if is_bare {
            format!("SELECT VALUE [{payload}]{source}")
        } else if keys.is_empty() {
            format!("SELECT {payload} AS payload{source}")
        } else {
            let items: Vec<_> = keys.iter().map(|key| format!("{{\"item\": {key}}}")).collect();
            let (items, keys) = (items.join(", "), keys.join(", "));
            format!("SELECT [{items}] AS groupByItems, {payload} AS payload{source} GROUP BY {keys}")
        };
        Ok(())
    }

    /// What one partition can say of an expression: a group's key is a key everywhere, an aggregate comes in parts.
    fn partial(&self, expr: &Expr) -> Result<(String, Option<&'static str>), Error> {
        let Expr::Aggregate(kind, argument) = expr else {
            let is_key = self.group_by.contains(expr);
            return if is_key { Ok((self.print(expr), None)) } else { Err(unsupported()) };
        };
        let argument = self.print(argument);
        let (item, name) = match kind {
            Aggregate::Count => (format!("COUNT({argument})"), "Count"),
            Aggregate::Sum => (format!("SUM({argument})"), "Sum"),
            Aggregate::Avg => (format!("{{\"sum\": SUM({argument}), \"count\": COUNT({argument})}}"), "Average"),
            Aggregate::Min => (format!("{{\"min\": MIN({argument}), \"count\": COUNT({argument})}}"), "Min"),
            Aggregate::Max => (format!("{{\"max\": MAX({argument}), \"count\": COUNT({argument})}}"), "Max"),
        };
        Ok((format!("{{\"item\": {item}}}"), Some(name)))
    }
}

fn unsupported() -> Error {
    let feature = "an aggregate or a group's key inside a larger expression, over several partitions,".to_owned();
    Error::Unsupported { place: Place { line: 1, column: 1 }, feature }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::parse;

    fn plan(text: &str) -> FanOut {
        parse(text).unwrap().fan_out([("@n", &json!(3))]).unwrap()
    }

    #[test]
    fn a_plain_query_is_asked_of_each_partition_as_it_is() {
        let plain = plan("SELECT c.a FROM c WHERE c.a > 1");
        assert_eq!((plain.rewritten_query.as_str(), plain.distinct_type, plain.has_select_value), ("", "None", false));
        assert_eq!(plan("SELECT TOP @n VALUE c.a FROM c").top, Some(3));
        assert_eq!(plan("SELECT DISTINCT VALUE c.a FROM c").distinct_type, "Unordered");
    }

    #[test]
    fn what_is_skipped_may_come_from_any_partition() {
        let windowed = plan("SELECT * FROM c OFFSET 5 LIMIT @n");
        assert_eq!((windowed.offset, windowed.limit), (Some(5), Some(3)));
        assert_eq!(windowed.rewritten_query, "SELECT * FROM c OFFSET 0 LIMIT 8");
        assert_eq!(
            plan("SELECT DISTINCT c.a FROM c OFFSET 1 LIMIT 1").rewritten_query,
            "SELECT DISTINCT c[\"a\"] FROM c"
        );
    }

    #[test]
    fn an_ordered_query_gives_what_it_is_ordered_by() {
        let ordered = plan("SELECT c.id FROM c WHERE c.a = 1 ORDER BY c.b DESC, c.d OFFSET 1 LIMIT 2");
        assert_eq!(
            ordered.rewritten_query,
            "SELECT TOP 3 c._rid, [{\"item\": c[\"b\"]}, {\"item\": c[\"d\"]}] AS orderByItems, {\"id\": c[\"id\"]} AS payload \
             FROM c WHERE ((c[\"a\"] = 1)) AND ({documentdb-formattableorderbyquery-filter}) ORDER BY c[\"b\"] DESC, c[\"d\"] ASC"
        );
        assert_eq!(ordered.order_by, ["Descending", "Ascending"]);
        // With the client's condition in place it must be a query.
        assert!(parse(&ordered.rewritten_query.replace(FILTER, "true")).is_ok());
    }

    #[test]
    fn what_goes_over_arrays_is_asked_of_each_partition_under_a_name_for_the_document() {
        let joined = plan("SELECT t FROM c JOIN t IN c.tags ORDER BY c.b");
        let expected = "SELECT c._rid, [{\"item\": c[\"b\"]}] AS orderByItems, {\"t\": t} AS payload FROM c JOIN t IN c[\"tags\"] \
                        WHERE ({documentdb-formattableorderbyquery-filter}) ORDER BY c[\"b\"] ASC";
        assert_eq!(joined.rewritten_query, expected);
        for text in [
            "SELECT * FROM t IN c.tags ORDER BY t",
            "SELECT * FROM c IN c.tags ORDER BY c",
            "SELECT * FROM c.a ORDER BY a",
        ] {
            let query = plan(text).rewritten_query.replace(FILTER, "true");
            assert!(parse(&query).is_ok(), "{query}");
        }
    }

    #[test]
    fn aggregates_come_in_parts_that_can_be_put_together() {
        let average = plan("SELECT VALUE AVG(c.a) FROM c");
        assert_eq!(average.aggregates, ["Average"]);
        assert_eq!(
            average.rewritten_query,
            "SELECT VALUE [{\"item\": {\"sum\": SUM(c[\"a\"]), \"count\": COUNT(c[\"a\"])}}] FROM c"
        );
        let grouped = plan("SELECT c.t, COUNT(1) AS n FROM c GROUP BY c.t");
        assert_eq!(grouped.group_by_aliases, ["t", "n"]);
        assert_eq!(grouped.group_by_alias_to_aggregate_type["n"], Some("Count"));
        assert!(parse(&grouped.rewritten_query).is_ok(), "{}", grouped.rewritten_query);
        assert!(parse("SELECT VALUE SUM(c.a) / 2 FROM c").unwrap().fan_out([]).is_err());
    }
}
