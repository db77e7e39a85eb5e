use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use serde_json::Value;

use crate::ast::{Count, Expr, Item, Ordered, Projection, Source, Step};
use crate::eval::{Scope, eval, truth};
use crate::expand::expand;
use crate::grouping::{self, Grouping};
use crate::interval;
use crate::{Accumulator, Error, Interval, OrderKey, Row, Select, SortKey};

/// A query with its parameters in place: ready to judge documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub(crate) sources: Vec<Source>,
    pub(crate) distinct: bool,
    pub(crate) projection: Projection,
    pub(crate) group_by: Vec<Expr>,
    pub(crate) grouping: Option<Grouping>,
    filter: Option<Expr>,
    order_by: Vec<Ordered>,
    offset: u64,
    limit: Option<u64>,
    /// Top-level properties that anything above looks at; `None`: all of them.
    touched: Option<Vec<String>>,
}

impl Select {
    /// Puts `parameters` (names with their `@`) in. A parameter that the query names and nobody gives is an error; one that
    /// the query does not name is ignored, as the service does.
    pub fn bind<'p>(&self, parameters: impl IntoIterator<Item = (&'p str, &'p Value)>) -> Result<Bound, Error> {
        Parameters(parameters.into_iter().collect()).bind(self)
    }
}

impl Parameters<'_> {
    fn bind(&self, select: &Select) -> Result<Bound, Error> {
        let exprs = |exprs: &[Expr]| exprs.iter().map(|expr| self.fill(expr)).collect::<Result<Vec<_>, _>>();
        let is_the_document = select.from.is_named && select.from.sources.is_empty();
        let source = |source: &Source| Ok(Source { of: self.fill(&source.of)?, ..source.clone() });
        let sources = select.from.sources.iter().map(source).collect::<Result<Vec<_>, Error>>()?;
        let projection = match &select.projection {
            Projection::Whole => match select.from.sources.as_slice() {
                [only] => Projection::Value(Expr::Variable(only.name.clone())),
                _ => Projection::Whole,
            },
            Projection::Value(Expr::Root) if select.group_by.is_empty() && is_the_document => Projection::Whole,
            Projection::Value(expr) => Projection::Value(self.fill(expr)?),
            Projection::List(items) => {
                let item = |(index, item): (usize, &Item)| {
                    Ok(Item { expr: self.fill(&item.expr)?, alias: Some(item.name(index, &select.from.document)) })
                };
                Projection::List(items.iter().enumerate().map(item).collect::<Result<_, Error>>()?)
            }
        };
        let group_by = exprs(&select.group_by)?;
        let filter = select.filter.as_ref().map(|filter| self.fill(filter)).transpose()?;
        let ordered = |key: &Ordered| Ok(Ordered { expr: self.fill(&key.expr)?, descending: key.descending });
        let order_by = select.order_by.iter().map(ordered).collect::<Result<Vec<_>, Error>>()?;
        let (offset, limit) = match (&select.top, &select.window) {
            (_, Some((offset, limit))) => (self.count(offset)?, Some(self.count(limit)?)),
            (Some(top), None) => (0, Some(self.count(top)?)),
            (None, None) => (0, None),
        };
        let grouping = grouping::plan(&projection, &group_by, &select.from.document)
            .expect("parse has planned the same projection with parameters in place of values");
        let mut touched = Touched::Some(BTreeSet::new());
        match &projection {
            Projection::Whole => {}
            Projection::Value(expr) => touched.add(expr),
            Projection::List(items) => items.iter().for_each(|item| touched.add(&item.expr)),
        }
        let keys = order_by.iter().map(|key| &key.expr);
        let others = group_by.iter().chain(&filter).chain(keys).chain(sources.iter().map(|source| &source.of));
        others.for_each(|expr| touched.add(expr));
        let touched = match touched {
            Touched::Whole => None,
            Touched::Some(names) => Some(names.into_iter().collect()),
        };
        Ok(Bound {
            sources,
            distinct: select.distinct,
            projection,
            group_by,
            grouping,
            filter,
            order_by,
            offset,
            limit,
            touched,
        })
    }
}

impl Bound {
    /// Reads from a document's JSON text the top-level properties that the query touches (none: the text is not even
    /// looked at). Fails on text that is no JSON object.
    pub fn row<'t>(&'t self, text: &'t [u8]) -> Result<Row<'t>, serde_json::Error> {
        match &self.touched {
            None => Row::whole_of(text),
            Some(names) => Row::some_of(text, names),
        }
    }

    /// Whether WHERE holds for the document: is true, not merely not false. For queries that go over nothing else, as those
    /// that [`Self::selects_whole`] do. Ask [`Row::judge`] afterwards.
    pub fn matches(&self, row: &Row<'_>) -> bool {
        self.holds(&Scope::of(row))
    }

    /// Visits the JSON text of each result that the document gives, until told to break: at most one, unless the query goes
    /// over arrays. For plain queries. Ask [`Row::judge`] afterwards.
    pub fn results(&self, row: &Row<'_>, visit: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>) -> ControlFlow<()> {
        expand(&self.sources, &Scope::of(row), &mut |scope| {
            let result = if self.holds(scope) { self.result(scope) } else { None };
            result.map_or(ControlFlow::Continue(()), &mut *visit)
        })
    }

    pub(crate) fn holds(&self, scope: &Scope<'_>) -> bool {
        self.filter.as_ref().is_none_or(|filter| truth(filter, scope) == Some(true))
    }

    /// `None` when it is undefined and so leaves no result.
    pub(crate) fn result(&self, scope: &Scope<'_>) -> Option<Vec<u8>> {
        match (&self.projection, scope) {
            (Projection::Whole, Scope::Document { row, .. }) => Some(row.text().to_vec()),
            (projection, scope) => render(projection, scope),
        }
    }

    /// Whether a result is the document's own text: then pass that on as it is instead of calling [`Self::results`].
    pub fn selects_whole(&self) -> bool {
        self.projection == Projection::Whole
    }

    /// Whether the answer depends on this top-level property: WHERE, ORDER BY or the projection looks at it, or the document
    /// is used as a whole other than by [`Self::selects_whole`] on a plain query. For stores that add fields when they
    /// give a document out: only where this holds must a row have them.
    pub fn touches(&self, name: &str) -> bool {
        let whole = self.selects_whole() && !self.is_plain();
        whole || self.touched.as_ref().is_none_or(|names| names.iter().any(|known| known == name))
    }

    /// Whether results come of documents one by one: no aggregate, GROUP BY or DISTINCT. Then a store that reads in the order
    /// of [`Self::order_keys`] may stream with [`Self::results`], skip [`Self::offset`] and stop after [`Self::limit`];
    /// everything else goes through [`Self::accumulator`].
    pub fn is_plain(&self) -> bool {
        self.grouping.is_none() && !self.distinct
    }

    /// The paths of ORDER BY; empty without ORDER BY; `None` when it orders by something else than property paths.
    pub fn order_keys(&self) -> Option<Vec<OrderKey>> {
        let key = |key: &Ordered| {
            let path = key.expr.property_path()?.into_iter().map(str::to_owned).collect();
            Some(OrderKey { path, descending: key.descending })
        };
        self.order_by.iter().map(key).collect()
    }

    /// Where a result stands in the order that ORDER BY asks for. All keys are equal without ORDER BY.
    pub(crate) fn sort_key(&self, scope: &Scope<'_>) -> SortKey {
        let mut sort_key = SortKey::default();
        for Ordered { expr, descending } in &self.order_by {
            let value = eval(expr, scope).map(std::borrow::Cow::into_owned);
            sort_key.push(value, *descending);
        }
        sort_key
    }

    /// Results to skip: OFFSET, or 0.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Most results after the offset: TOP or LIMIT.
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Bounds that WHERE puts on a property path: no matching document lies outside. For starting an index scan at the
    /// right place; each document must still be asked.
    pub fn interval(&self, path: &[&str]) -> Interval {
        self.filter.as_ref().map(|filter| interval::of(filter, path)).unwrap_or_default()
    }

    /// Takes any documents in any order and gives the whole query's results: WHERE, aggregates, GROUP BY, DISTINCT,
    /// ORDER BY, TOP, OFFSET and LIMIT.
    pub fn accumulator(&self) -> Accumulator<'_> {
        Accumulator::new(self)
    }
}

/// A result's JSON text, properties in the order of the query; `None` when it is undefined.
pub(crate) fn render(projection: &Projection, scope: &Scope<'_>) -> Option<Vec<u8>> {
    match projection {
        Projection::Whole => None,
        Projection::Value(expr) => eval(expr, scope).map(|value| value.to_string().into_bytes()),
        Projection::List(items) => {
            let mut text = String::from("{");
            for item in items {
                let (Some(name), Some(value)) = (&item.alias, eval(&item.expr, scope)) else { continue };
                let comma = if text.len() > 1 { "," } else { "" };
                text.push_str(&format!("{comma}{}:{value}", Value::from(name.as_str())));
            }
            text.push('}');
            Some(text.into_bytes())
        }
    }
}

struct Parameters<'p>(BTreeMap<&'p str, &'p Value>);

impl Parameters<'_> {
    fn get(&self, name: &str) -> Result<&Value, Error> {
        self.0.get(name).copied().ok_or_else(|| Error::MissingParameter { name: name.to_owned() })
    }

    fn fill(&self, expr: &Expr) -> Result<Expr, Error> {
        match expr {
            Expr::Parameter(name) => self.get(name).map(|value| Expr::Literal(value.clone())),
            Expr::Subquery(kind, select) => Ok(Expr::Nested(*kind, Box::new(self.bind(select)?))),
            Expr::Path(base, steps) => {
                let steps = steps.iter().map(|step| self.step(step)).collect::<Result<_, _>>()?;
                Ok(Expr::Path(Box::new(self.fill(base)?), steps))
            }
            other => other.map_children(&mut |inner| self.fill(inner)),
        }
    }

    fn step(&self, step: &Step) -> Result<Step, Error> {
        let Step::Parameter(name) = step else { return Ok(step.clone()) };
        match self.get(name)? {
            Value::String(text) => Ok(Step::Name(text.clone())),
            value => {
                let index = value.as_u64().and_then(|index| usize::try_from(index).ok());
                let expected = "a text or a whole number";
                index.map(Step::Index).ok_or_else(|| Error::WrongParameter { name: name.clone(), expected })
            }
        }
    }

    fn count(&self, count: &Count) -> Result<u64, Error> {
        match count {
            Count::Literal(count) => Ok(*count),
            Count::Parameter(name) => {
                let expected = "a whole number";
                self.get(name)?.as_u64().ok_or_else(|| Error::WrongParameter { name: name.clone(), expected })
            }
        }
    }
}

enum Touched {
    Whole,
    Some(BTreeSet<String>),
}

impl Touched {
    fn add(&mut self, expr: &Expr) {
        let Self::Some(names) = self else { return };
        match expr {
            Expr::Root => *self = Self::Whole,
            Expr::Path(base, steps) if **base == Expr::Root => match steps.first() {
                Some(Step::Name(name)) => {
                    names.insert(name.clone());
                }
                // An object has no element 0: undefined whatever the document is.
                Some(Step::Index(_) | Step::Parameter(_)) | None => {}
            },
            Expr::Nested(_, query) => match &query.touched {
                Some(touched) => names.extend(touched.iter().cloned()),
                None => *self = Self::Whole,
            },
            _ => expr.children().into_iter().for_each(|child| self.add(child)),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::parse;

    /// The results of a query without parameters over `documents`.
    pub(crate) fn results(query: &str, documents: &[&str]) -> Vec<String> {
        let query = parse(query).unwrap_or_else(|error| panic!("{query}: {error}")).bind([]).unwrap();
        let mut accumulator = query.accumulator();
        for document in documents {
            accumulator.push(&query.row(document.as_bytes()).unwrap());
        }
        accumulator.finish().into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
    }

    fn bind(query: &str, parameters: &[(&str, Value)]) -> Result<Bound, Error> {
        parse(query).unwrap().bind(parameters.iter().map(|(name, value)| (*name, value)))
    }

    #[test]
    fn parameters_stand_for_values_names_and_counts() {
        let parameters =
            [("@a", json!(1)), ("@name", json!("x y")), ("@index", json!(1)), ("@n", json!(2)), ("@unused", json!(0))];
        let query = bind("SELECT TOP @n VALUE c[@name][@index] FROM c WHERE c.a = @a", &parameters).unwrap();
        let row = query.row(br#"{"a":1,"x y":[5,6]}"#).unwrap();
        assert!(query.matches(&row));
        assert_eq!(query.result(&Scope::of(&row)), Some(b"6".to_vec()));
        assert_eq!(query.limit(), Some(2));
    }

    #[test]
    fn a_missing_or_unfit_parameter_is_named() {
        let missing = |name: &str| Error::MissingParameter { name: name.into() };
        assert_eq!(bind("SELECT * FROM c WHERE c.a = @a", &[]).unwrap_err(), missing("@a"));
        assert_eq!(bind("SELECT * FROM c WHERE c[@a] = 1", &[]).unwrap_err(), missing("@a"));
        assert_eq!(bind("SELECT TOP @n * FROM c", &[]).unwrap_err(), missing("@n"));
        for (query, value) in [("SELECT TOP @p * FROM c", json!(-1)), ("SELECT c[@p] AS a FROM c", json!(null))] {
            assert!(matches!(bind(query, &[("@p", value)]), Err(Error::WrongParameter { .. })), "{query}");
        }
    }

    #[test]
    fn a_whole_document_passes_through_with_its_own_spelling() {
        let text = r#"{ "big": 123456789012345678901234567890, "e": "\u00e9", "f": 1.0 }"#;
        for query in ["SELECT * FROM c", "SELECT VALUE c FROM c"] {
            assert!(bind(query, &[]).unwrap().selects_whole());
            assert_eq!(results(query, &[text]), [text], "{query}");
        }
    }

    #[test]
    fn a_projection_keeps_the_order_of_the_query_and_leaves_out_what_is_undefined() {
        let document = r#"{"b":{"c":2},"a":1,"t":["x"]}"#;
        let cases = [
            ("SELECT c.b.c, c.a, c.no FROM c", r#"{"c":2,"a":1}"#),
            ("SELECT c.a + 1, c.t[0], c.a AS z, c.b.c two FROM c", r#"{"$1":2,"$2":"x","z":1,"two":2}"#),
            ("SELECT c.no FROM c", "{}"),
            ("SELECT VALUE [c.a, c.b] FROM c", r#"[1,{"c":2}]"#),
            ("SELECT p.a FROM posts AS p", r#"{"a":1}"#),
            ("SELECT {whole: c}.whole.a FROM c", r#"{"$1":1}"#),
            ("SELECT c FROM c", r#"{"c":{"a":1,"b":{"c":2},"t":["x"]}}"#),
        ];
        for (query, expected) in cases {
            assert_eq!(results(query, &[document]), [expected], "{query}");
        }
    }

    #[test]
    fn what_the_query_does_not_touch_is_not_read() {
        let count = bind("SELECT VALUE COUNT(1) FROM c", &[]).unwrap();
        assert!(count.row(b"not even JSON").is_ok());
        let live = bind("SELECT VALUE COUNT(1) FROM c WHERE NOT IS_DEFINED(c.deletedAt)", &[]).unwrap();
        assert_eq!(live.touched, Some(vec!["deletedAt".to_owned()]));
        let all = bind("SELECT VALUE {d: c} FROM c", &[]).unwrap();
        assert_eq!(all.touched, None);
        let every = bind("SELECT c.a.x FROM c WHERE c['b'][0] > @p ORDER BY c.d DESC", &[("@p", json!(1))]).unwrap();
        assert_eq!(every.touched, Some(["a", "b", "d"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_store_learns_whether_a_property_matters() {
        let touches = |query: &str| bind(query, &[("@p", json!("_ts"))]).unwrap().touches("_ts");
        for query in ["SELECT * FROM c", "SELECT c.a FROM c WHERE c.b._ts = 1", "SELECT VALUE COUNT(1) FROM c"] {
            assert!(!touches(query), "{query}");
        }
        let touching = [
            "SELECT c[@p] AS t FROM c",
            "SELECT c FROM c",
            "SELECT DISTINCT * FROM c",
            "SELECT * FROM c ORDER BY c[\"\\u005fts\"]",
        ];
        for query in touching {
            assert!(touches(query), "{query}");
        }
    }

    #[test]
    fn a_store_learns_which_order_is_asked_for() {
        let keys = |query: &str| bind(query, &[]).unwrap().order_keys();
        let key = |path: &[&str], descending| OrderKey {
            path: path.iter().map(|&name| name.to_owned()).collect(),
            descending,
        };
        assert_eq!(keys("SELECT * FROM c"), Some(vec![]));
        assert_eq!(
            keys("SELECT * FROM c ORDER BY c.a.b DESC, c.d"),
            Some(vec![key(&["a", "b"], true), key(&["d"], false)])
        );
        assert_eq!(keys("SELECT * FROM c ORDER BY LOWER(c.a)"), None);
        assert_eq!(keys("SELECT * FROM c ORDER BY c.a[0]"), None);
    }

    #[test]
    fn plain_queries_are_those_that_may_be_streamed() {
        let plain = |query: &str| bind(query, &[]).unwrap().is_plain();
        assert!(plain("SELECT TOP 3 c.a FROM c WHERE c.a > 1 ORDER BY c.a"));
        assert!(plain("SELECT * FROM c OFFSET 1 LIMIT 2"));
        for query in ["SELECT DISTINCT c.a FROM c", "SELECT COUNT(1) FROM c", "SELECT c.a FROM c GROUP BY c.a"] {
            assert!(!plain(query), "{query}");
        }
    }
}
