use serde_json::Value;

use crate::ast::{Expr, Operator};
use crate::value::compare;

/// One end of an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    pub value: Value,
    pub inclusive: bool,
}

/// Values between two edges in the cross-type order; a missing edge is open to everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interval {
    pub lower: Option<Edge>,
    pub upper: Option<Edge>,
}

impl Interval {
    fn point(value: &Value) -> Self {
        let edge = Edge { value: value.clone(), inclusive: true };
        Self { lower: Some(edge.clone()), upper: Some(edge) }
    }

    /// What lies in both.
    fn and(self, other: Self) -> Self {
        Self {
            lower: tighter(self.lower, other.lower, higher),
            upper: tighter(self.upper, other.upper, |a, b| !higher_upper(a, b)),
        }
    }

    /// The smallest interval around both.
    fn or(self, other: Self) -> Self {
        Self {
            lower: looser(self.lower, other.lower, |a, b| !higher(a, b)),
            upper: looser(self.upper, other.upper, higher_upper),
        }
    }
}

fn tighter(a: Option<Edge>, b: Option<Edge>, first: fn(&Edge, &Edge) -> bool) -> Option<Edge> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if first(&a, &b) { a } else { b }),
        (a, b) => a.or(b),
    }
}

fn looser(a: Option<Edge>, b: Option<Edge>, first: fn(&Edge, &Edge) -> bool) -> Option<Edge> {
    let (a, b) = (a?, b?);
    Some(if first(&a, &b) { a } else { b })
}

/// Of two lower edges, whether the first begins later.
fn higher(a: &Edge, b: &Edge) -> bool {
    compare(Some(&a.value), Some(&b.value)).then(b.inclusive.cmp(&a.inclusive)).is_gt()
}

/// Of two upper edges, whether the first ends later.
fn higher_upper(a: &Edge, b: &Edge) -> bool {
    compare(Some(&a.value), Some(&b.value)).then(a.inclusive.cmp(&b.inclusive)).is_gt()
}

/// No document with `path` outside of this makes the bound condition true.
pub(crate) fn of(condition: &Expr, path: &[&str]) -> Interval {
    match condition {
        Expr::All(operands) => {
            operands.iter().map(|operand| of(operand, path)).fold(Interval::default(), Interval::and)
        }
        Expr::Any(operands) => {
            operands.iter().map(|operand| of(operand, path)).reduce(Interval::or).unwrap_or_default()
        }
        Expr::In(needle, haystack) if is(needle, path) => {
            let point = |value: &Expr| match value {
                Expr::Literal(value) => Interval::point(value),
                _ => Interval::default(),
            };
            haystack.iter().map(point).reduce(Interval::or).unwrap_or_default()
        }
        Expr::Binary(operator, a, b) => match (&**a, &**b) {
            (a, Expr::Literal(value)) if is(a, path) => compared(*operator, value),
            (Expr::Literal(value), b) if is(b, path) => compared(mirrored(*operator), value),
            _ => Interval::default(),
        },
        _ => Interval::default(),
    }
}

fn is(expr: &Expr, path: &[&str]) -> bool {
    expr.property_path().is_some_and(|found| found == path)
}

fn compared(operator: Operator, value: &Value) -> Interval {
    let edge = |inclusive| Some(Edge { value: value.clone(), inclusive });
    match operator {
        Operator::Equal => Interval::point(value),
        Operator::Less => Interval { lower: None, upper: edge(false) },
        Operator::LessOrEqual => Interval { lower: None, upper: edge(true) },
        Operator::Greater => Interval { lower: edge(false), upper: None },
        Operator::GreaterOrEqual => Interval { lower: edge(true), upper: None },
        _ => Interval::default(),
    }
}

fn mirrored(operator: Operator) -> Operator {
    match operator {
        Operator::Less => Operator::Greater,
        Operator::LessOrEqual => Operator::GreaterOrEqual,
        Operator::Greater => Operator::Less,
        Operator::GreaterOrEqual => Operator::LessOrEqual,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parse;

    fn interval(condition: &str) -> String {
        let query = parse(&format!("SELECT * FROM c WHERE {condition}")).unwrap().bind([]).unwrap();
        let Interval { lower, upper } = query.interval(&["a"]);
        let low = lower.map_or("(".into(), |edge| format!("{}{}", if edge.inclusive { '[' } else { '(' }, edge.value));
        let high = upper.map_or(")".into(), |edge| format!("{}{}", edge.value, if edge.inclusive { ']' } else { ')' }));
        format!("{low},{high}")
    }

    #[test]
    fn a_condition_bounds_what_it_compares() {
        let cases = [
            ("c.a < 5", "(,5)"),
            ("5 <= c.a", "[5,)"),
            ("c.a = 5", "[5,5]"),
            ("c.a > 1 AND c.a <= 5 AND c.b = 9", "(1,5]"),
            ("c.a >= 1 AND c.a > 1", "(1,)"),
            ("c.a > 2 AND c.a >= 1", "(2,)"),
            ("c.a < 5 AND c.a <= 3", "(,3]"),
            ("c.a <= 5 AND c.a < 5", "(,5)"),
            ("c.a < 5 OR c.a <= 5", "(,5]"),
            ("c.a IN (3, 1, 2)", "[1,3]"),
            ("c.a BETWEEN 1 AND 2", "[1,2]"),
            ("c.a < 5 OR (c.a = 5 AND c.b > 'x')", "(,5]"),
            ("c.a < 5 OR c.b = 1", "(,)"),
            ("NOT (c.a < 5)", "(,)"),
            ("c.a != 5", "(,)"),
            ("c.b < 5", "(,)"),
            ("c.a < c.b", "(,)"),
        ];
        for (condition, expected) in cases {
            assert_eq!(interval(condition), expected, "{condition}");
        }
    }

    fn conditions() -> impl Strategy<Value = String> {
        let operator = proptest::sample::select(vec!["<", "<=", ">", ">=", "=", "!="]);
        let leaf = (proptest::sample::select(vec!["c.a", "c.b"]), operator, 0..5, any::<bool>()).prop_map(
            |(path, operator, value, swapped)| {
                if swapped { format!("{value} {operator} {path}") } else { format!("{path} {operator} {value}") }
            },
        );
        leaf.prop_recursive(3, 10, 3, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
                inner.prop_map(|a| format!("(NOT ({a}))")),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_that_matches_lies_outside(condition in conditions(), a in 0..5, b in 0..5) {
            let query = parse(&format!("SELECT * FROM c WHERE {condition}")).unwrap().bind([]).unwrap();
            let text = format!("{{\"a\":{a},\"b\":{b}}}");
            if query.matches(&query.row(text.as_bytes()).unwrap()) {
                let found = Some(Value::from(a));
                let Interval { lower, upper } = query.interval(&["a"]);
                let inside = |edge: Option<Edge>, inward: std::cmp::Ordering| edge.is_none_or(|edge| {
                    let order = compare(found.as_ref(), Some(&edge.value));
                    order == inward || (order.is_eq() && edge.inclusive)
                });
                prop_assert!(inside(lower, std::cmp::Ordering::Greater), "{} {}", condition, text);
                prop_assert!(inside(upper, std::cmp::Ordering::Less), "{} {}", condition, text);
            }
        }
    }
}
