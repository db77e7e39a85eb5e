use std::fmt::{self, Display, Formatter, Write};

use serde_json::Value;

use crate::ast::{Count, Expr, From, Operator, Projection, Select, Source, Step, Subquery};

impl Display for Select {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        ExprPrinter { alias: &self.from.document }.select(f, self)
    }
}

/// Under the name that queries usually give a document.
impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        ExprPrinter { alias: "c" }.print(f, self)
    }
}

impl Expr {
    /// Where the document is called `alias`.
    pub(crate) fn shown(&self, alias: &str) -> String {
        fmt::from_fn(|f| ExprPrinter { alias }.print(f, self)).to_string()
    }
}

impl From {
    /// ` FROM …`, where the document is called `alias`.
    pub(crate) fn shown(&self, alias: &str) -> String {
        fmt::from_fn(|f| ExprPrinter { alias }.from(f, self)).to_string()
    }
}

impl Display for Count {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(count) => write!(f, "{count}"),
            Self::Parameter(name) => f.write_str(name),
        }
    }
}

/// Everything composite goes into parentheses: no precedence to get wrong.
struct ExprPrinter<'a> {
    alias: &'a str,
}

impl ExprPrinter<'_> {
    fn select(&self, f: &mut Formatter<'_>, select: &Select) -> fmt::Result {
        f.write_str("SELECT ")?;
        if select.distinct {
            f.write_str("DISTINCT ")?;
        }
        if let Some(top) = &select.top {
            write!(f, "TOP {top} ")?;
        }
        match &select.projection {
            Projection::Whole => f.write_char('*')?,
            Projection::Value(expr) => {
                f.write_str("VALUE ")?;
                self.print(f, expr)?;
            }
            Projection::List(items) => self.separated(f, items, |f, item| {
                self.print(f, &item.expr)?;
                item.alias.iter().try_for_each(|alias| write!(f, " AS {alias}"))
            })?,
        }
        self.from(f, &select.from)?;
        if let Some(filter) = &select.filter {
            f.write_str(" WHERE ")?;
            self.print(f, filter)?;
        }
        if !select.group_by.is_empty() {
            f.write_str(" GROUP BY ")?;
            self.separated(f, &select.group_by, |f, expr| self.print(f, expr))?;
        }
        if !select.order_by.is_empty() {
            f.write_str(" ORDER BY ")?;
            self.separated(f, &select.order_by, |f, key| {
                self.print(f, &key.expr)?;
                f.write_str(if key.descending { " DESC" } else { " ASC" })
            })?;
        }
        if let Some((offset, limit)) = &select.window {
            write!(f, " OFFSET {offset} LIMIT {limit}")?;
        }
        Ok(())
    }

    fn from(&self, f: &mut Formatter<'_>, from: &From) -> fmt::Result {
        let mut joint = " FROM ";
        if from.is_named {
            write!(f, "{joint}{}", self.alias)?;
            joint = " JOIN ";
        }
        for Source { name, of, is_each } in &from.sources {
            f.write_str(joint)?;
            let is_joined = joint == " JOIN ";
            match (of, is_each) {
                (Expr::Subquery(Subquery::Array, select), true) => {
                    f.write_char('(')?;
                    self.select(f, select)?;
                    f.write_char(')')?;
                }
                (of, true) => {
                    write!(f, "{name} IN ")?;
                    self.print(f, of)?;
                }
                // Only the first may be a path as it is.
                (of, false) if is_joined => {
                    f.write_str("(SELECT VALUE ")?;
                    self.print(f, of)?;
                    f.write_char(')')?;
                }
                (of, false) => self.print(f, of)?,
            }
            let is_said = *is_each && !matches!(of, Expr::Subquery(..));
            if !is_said && !name.is_empty() {
                write!(f, " AS {name}")?;
            }
            joint = " JOIN ";
        }
        Ok(())
    }

    fn print(&self, f: &mut Formatter<'_>, expr: &Expr) -> fmt::Result {
        match expr {
            Expr::Undefined => f.write_str("undefined"),
            // JSON's own escapes are a subset of the literals'.
            Expr::Literal(value) => write!(f, "{value}"),
            Expr::Parameter(name) => f.write_str(name),
            Expr::Root => f.write_str(self.alias),
            Expr::Variable(name) => f.write_str(name),
            Expr::Path(base, steps) => {
                // A number before a bracket is fine, but a negative one would swallow the path into its negation.
                match **base {
                    Expr::Literal(Value::Number(_)) => {
                        f.write_char('(')?;
                        self.print(f, base)?;
                        f.write_char(')')?;
                    }
                    _ => self.print(f, base)?,
                }
                steps.iter().try_for_each(|step| match step {
                    Step::Name(name) => write!(f, "[{}]", Value::from(name.as_str())),
                    Step::Index(index) => write!(f, "[{index}]"),
                    Step::Parameter(name) => write!(f, "[{name}]"),
                })
            }
            Expr::Not(operand) => self.prefixed(f, "NOT ", operand),
            Expr::Plus(operand) => self.prefixed(f, "+ ", operand),
            Expr::Minus(operand) => self.prefixed(f, "- ", operand),
            Expr::All(operands) => self.joined(f, operands, " AND "),
            Expr::Any(operands) => self.joined(f, operands, " OR "),
            Expr::Binary(operator, a, b) => {
                f.write_char('(')?;
                self.print(f, a)?;
                write!(f, " {} ", symbol(*operator))?;
                self.print(f, b)?;
                f.write_char(')')
            }
            Expr::In(needle, haystack) => {
                f.write_char('(')?;
                self.print(f, needle)?;
                f.write_str(" IN (")?;
                self.list(f, haystack)?;
                f.write_str("))")
            }
            Expr::Like { text, pattern, escape } => {
                f.write_char('(')?;
                self.print(f, text)?;
                f.write_str(" LIKE ")?;
                self.print(f, pattern)?;
                escape.iter().try_for_each(|escape| write!(f, " ESCAPE {}", Value::from(escape.to_string())))?;
                f.write_char(')')
            }
            Expr::Conditional(parts) => {
                let [condition, then, otherwise] = &**parts;
                f.write_char('(')?;
                self.print(f, condition)?;
                f.write_str(" ? ")?;
                self.print(f, then)?;
                f.write_str(" : ")?;
                self.print(f, otherwise)?;
                f.write_char(')')
            }
            Expr::Call(function, arguments) => {
                write!(f, "{}(", function.name())?;
                self.list(f, arguments)?;
                f.write_char(')')
            }
            Expr::Array(elements) => {
                f.write_char('[')?;
                self.list(f, elements)?;
                f.write_char(']')
            }
            Expr::Object(properties) => {
                f.write_char('{')?;
                self.separated(f, properties, |f, (name, value)| {
                    write!(f, "{}: ", Value::from(name.as_str()))?;
                    self.print(f, value)
                })?;
                f.write_char('}')
            }
            Expr::Aggregate(aggregate, argument) => {
                write!(f, "{}(", aggregate.name())?;
                self.print(f, argument)?;
                f.write_char(')')
            }
            Expr::Subquery(kind, select) => {
                f.write_str(match kind {
                    Subquery::Value => "(",
                    Subquery::Exists => "EXISTS(",
                    Subquery::Array => "ARRAY(",
                })?;
                self.select(f, select)?;
                f.write_char(')')
            }
            Expr::Nested(..) => f.write_str("<subquery>"),
            Expr::GroupKey(index) => write!(f, "<key {index}>"),
            Expr::Aggregated(index) => write!(f, "<aggregate {index}>"),
        }
    }

    fn prefixed(&self, f: &mut Formatter<'_>, operator: &str, operand: &Expr) -> fmt::Result {
        write!(f, "({operator}")?;
        self.print(f, operand)?;
        f.write_char(')')
    }

    fn joined(&self, f: &mut Formatter<'_>, operands: &[Expr], operator: &str) -> fmt::Result {
        for (index, operand) in operands.iter().enumerate() {
            f.write_str(if index == 0 { "(" } else { operator })?;
            self.print(f, operand)?;
        }
        f.write_char(')')
    }

    fn list(&self, f: &mut Formatter<'_>, exprs: &[Expr]) -> fmt::Result {
        self.separated(f, exprs, |f, expr| self.print(f, expr))
    }

    fn separated<T>(
        &self,
        f: &mut Formatter<'_>,
        items: &[T],
        one: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
    ) -> fmt::Result {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            one(f, item)?;
        }
        Ok(())
    }
}

fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Equal => "=",
        Operator::NotEqual => "!=",
        Operator::Less => "<",
        Operator::LessOrEqual => "<=",
        Operator::Greater => ">",
        Operator::GreaterOrEqual => ">=",
        Operator::Concat => "||",
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::Remainder => "%",
        Operator::Coalesce => "??",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ast::{Item, Ordered};
    use crate::functions::Function;
    use crate::{Error, parse};

    fn operators() -> impl Strategy<Value = Operator> {
        use Operator::{
            Add, Coalesce, Concat, Divide, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Multiply, NotEqual,
            Remainder, Subtract,
        };
        proptest::sample::select(vec![
            Equal,
            NotEqual,
            Less,
            LessOrEqual,
            Greater,
            GreaterOrEqual,
            Concat,
            Add,
            Subtract,
            Multiply,
            Divide,
            Remainder,
            Coalesce,
        ])
    }

    fn is_number(expr: &Expr) -> bool {
        matches!(expr, Expr::Literal(Value::Number(_)))
    }

    fn exprs() -> impl Strategy<Value = Expr> {
        let step = prop_oneof![
            "[a-z\"\\\\\n é😀]{0,3}".prop_map(Step::Name),
            (0..9_usize).prop_map(Step::Index),
            Just(Step::Parameter("@p".into())),
        ];
        let leaf = prop_oneof![
            Just(Expr::Undefined),
            Just(Expr::Root),
            Just(Expr::Parameter("@p1".into())),
            Just(Expr::Literal(Value::Null)),
            any::<bool>().prop_map(|value| Expr::Literal(value.into())),
            any::<i64>().prop_map(|value| Expr::Literal(value.into())),
            (-1e9..1e9).prop_map(|value: f64| Expr::Literal(value.into())),
            ".{0,4}".prop_map(|value| Expr::Literal(value.into())),
        ];
        leaf.prop_recursive(4, 24, 3, move |inner| {
            let boxed = || inner.clone().prop_map(Box::new);
            let subqueries = proptest::sample::select(vec![Subquery::Value, Subquery::Exists, Subquery::Array]);
            let some = |least: usize| proptest::collection::vec(inner.clone(), least..4);
            prop_oneof![
                (boxed(), proptest::collection::vec(step.clone(), 1..3))
                    .prop_filter("a path on a path is one path", |(base, _)| !matches!(**base, Expr::Path(..)))
                    .prop_map(|(base, steps)| Expr::Path(base, steps)),
                boxed().prop_map(Expr::Not),
                boxed().prop_map(Expr::Plus),
                boxed().prop_filter("a negated number is one number", |inner| !is_number(inner)).prop_map(Expr::Minus),
                some(2).prop_map(Expr::All),
                some(2).prop_map(Expr::Any),
                (operators(), boxed(), boxed()).prop_map(|(operator, a, b)| Expr::Binary(operator, a, b)),
                (boxed(), some(1)).prop_map(|(needle, haystack)| Expr::In(needle, haystack)),
                (boxed(), boxed(), proptest::option::of(any::<char>()))
                    .prop_map(|(text, pattern, escape)| Expr::Like { text, pattern, escape }),
                [inner.clone(), inner.clone(), inner.clone()].prop_map(|parts| Expr::Conditional(Box::new(parts))),
                inner.clone().prop_map(|argument| Expr::Call(Function::IsDefined, vec![argument])),
                some(2).prop_map(|arguments| Expr::Call(Function::Concat, arguments)),
                some(0).prop_map(Expr::Array),
                (subqueries, inner.clone()).prop_map(|(kind, expr)| Expr::Subquery(kind, Box::new(subquery(expr)))),
                proptest::collection::vec(("[a-z ]{0,3}", inner.clone()), 0..3).prop_map(Expr::Object),
            ]
        })
    }

    fn subquery(expr: Expr) -> Select {
        let from = From { document: "c".into(), is_named: false, sources: Vec::new() };
        let (projection, group_by, order_by) = (Projection::Value(expr), Vec::new(), Vec::new());
        Select { distinct: false, top: None, projection, from, filter: None, group_by, order_by, window: None }
    }

    fn named(of: Vec<Expr>) -> Vec<Source> {
        let source = |(index, of)| Source { name: format!("s{index}"), of, is_each: true };
        of.into_iter().enumerate().map(source).collect()
    }

    fn counts() -> impl Strategy<Value = Count> {
        prop_oneof![any::<u64>().prop_map(Count::Literal), Just(Count::Parameter("@n".into()))]
    }

    fn selects() -> impl Strategy<Value = Select> {
        let item = |index: usize| exprs().prop_map(move |expr| Item { expr, alias: Some(format!("n{index}")) });
        let projection = prop_oneof![
            Just(Projection::Whole),
            exprs().prop_map(Projection::Value),
            (item(0), item(1)).prop_map(|(a, b)| Projection::List(vec![a, b])),
        ];
        let ordered = (exprs(), any::<bool>()).prop_map(|(expr, descending)| Ordered { expr, descending });
        let of = prop_oneof![
            Just(Expr::Path(Box::new(Expr::Root), vec![Step::Name("tags".into())])),
            exprs().prop_map(|expr| Expr::Subquery(Subquery::Array, Box::new(subquery(expr)))),
        ];
        (
            any::<bool>(),
            proptest::option::of(counts()),
            projection,
            proptest::option::of(exprs()),
            proptest::collection::vec(ordered, 0..3),
            proptest::option::of((counts(), counts())),
            proptest::collection::vec(of, 0..3),
        )
            .prop_map(|(distinct, top, projection, filter, order_by, window, sources)| Select {
                distinct,
                window: if top.is_some() { None } else { window },
                top,
                // * is all of one thing.
                projection: if sources.is_empty() || projection != Projection::Whole {
                    projection
                } else {
                    Projection::Value(Expr::Root)
                },
                from: From { document: "c".into(), is_named: true, sources: named(sources) },
                filter,
                group_by: Vec::new(),
                order_by,
            })
    }

    #[test]
    fn whatever_text_parses_prints_to_what_parses_to_the_same() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let Some(select) = std::str::from_utf8(bytes).ok().and_then(|text| parse(text).ok()) else { return };
            let text = select.to_string();
            match parse(&text) {
                // It has parentheses that were not written, and may be deeper than is read.
                Err(Error::Syntax { reason, .. }) if reason.starts_with("expressions may be nested") => {}
                again => assert_eq!(again, Ok(select), "{text}"),
            }
        });
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(select in selects()) {
            let text = select.to_string();
            prop_assert_eq!(parse(&text), Ok(select), "{}", text);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(SELECT|FROM|c|\\.|,|'|\"|\\\\|[(){}\\[\\]]|WHERE|NOT|IN|@p|1|é| |\n){0,20}") {
            let _parsed = parse(&text);
        }
    }

    #[test]
    fn what_a_query_goes_over_prints_in_full() {
        let texts = [
            "SELECT VALUE t FROM c JOIN t IN c[\"tags\"] JOIN x IN t[\"x\"]",
            "SELECT * FROM t IN c[\"tags\"][0]",
            "SELECT * FROM c[\"a\"] AS a",
            "SELECT VALUE 1 FROM c JOIN (SELECT VALUE t FROM t IN c[\"tags\"]) AS t WHERE EXISTS(SELECT VALUE u FROM u IN t)",
            "SELECT VALUE ARRAY(SELECT VALUE x FROM c[\"a\"] AS x JOIN y IN x) FROM c",
        ];
        for text in texts {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_query_prints_in_full() {
        let text = "select distinct p.a.b x, count(1) from posts as p where p.a = 1 and not is_defined(p.d) group by p.a.b offset 1 limit @n";
        assert_eq!(
            parse(text).unwrap().to_string(),
            "SELECT DISTINCT p[\"a\"][\"b\"] AS x, COUNT(1) FROM p WHERE ((p[\"a\"] = 1) AND (NOT IS_DEFINED(p[\"d\"]))) GROUP BY p[\"a\"][\"b\"] OFFSET 1 LIMIT @n"
        );
    }
}
