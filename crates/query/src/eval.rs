use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::ast::{Expr, Operator, Step, Subquery};
use crate::like;
use crate::value::{Ranked, compare, compare_in_expression, number};
use crate::{Bound, Row};

/// What an expression's names mean.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'v> {
    Document {
        row: &'v Row<'v>,
        /// Of FROM's sources, the last first.
        names: Option<&'v Named<'v>>,
    },
    /// After GROUP BY: the group's keys and the results of the aggregates.
    Group { keys: &'v [Ranked], results: &'v [Option<Value>] },
}

/// What a source of FROM gives at this moment.
pub(crate) struct Named<'v> {
    pub(crate) name: &'v str,
    pub(crate) value: &'v Value,
    pub(crate) outer: Option<&'v Self>,
}

impl<'v> Scope<'v> {
    pub(crate) fn of(row: &'v Row<'v>) -> Self {
        Self::Document { row, names: None }
    }

    fn named(&self, name: &str) -> Option<&'v Value> {
        let Self::Document { names, .. } = self else { return None };
        std::iter::successors(*names, |named| named.outer).find(|named| named.name == name).map(|named| named.value)
    }
}

/// The value of a bound expression; `None` is Cosmos' undefined.
pub(crate) fn eval<'v>(expr: &'v Expr, scope: &Scope<'v>) -> Option<Cow<'v, Value>> {
    match expr {
        Expr::Literal(value) => Some(Cow::Borrowed(value)),
        Expr::Root => match scope {
            Scope::Document { row, .. } => row.whole().map(Cow::Borrowed),
            Scope::Group { .. } => None,
        },
        Expr::Variable(name) => scope.named(name).map(Cow::Borrowed),
        Expr::Path(base, steps) => path(base, steps, scope),
        Expr::GroupKey(index) => match scope {
            Scope::Group { keys, .. } => keys.get(*index)?.0.as_ref().map(Cow::Borrowed),
            Scope::Document { .. } => None,
        },
        Expr::Aggregated(index) => match scope {
            Scope::Group { results, .. } => results.get(*index)?.as_ref().map(Cow::Borrowed),
            Scope::Document { .. } => None,
        },
        Expr::Plus(operand) => eval(operand, scope).filter(|value| value.is_number()),
        Expr::Minus(operand) => number(-eval(operand, scope)?.as_f64()?).map(Cow::Owned),
        Expr::Conditional(parts) => {
            let [condition, then, otherwise] = &**parts;
            eval(if truth(condition, scope) == Some(true) { then } else { otherwise }, scope)
        }
        Expr::Binary(Operator::Coalesce, a, b) => eval(a, scope).or_else(|| eval(b, scope)),
        Expr::Binary(Operator::Concat, a, b) => {
            let (a, b) = (eval(a, scope)?, eval(b, scope)?);
            Some(Cow::Owned(Value::from([a.as_str()?, b.as_str()?].concat())))
        }
        Expr::Binary(operator, a, b) => match arithmetic(*operator) {
            Some(compute) => {
                let (a, b) = (eval(a, scope)?.as_f64()?, eval(b, scope)?.as_f64()?);
                number(compute(a, b)).map(Cow::Owned)
            }
            None => boolean(expr, scope),
        },
        Expr::Call(function, arguments) => function.call(arguments, scope).map(Cow::Owned),
        Expr::Array(elements) => {
            let elements = elements.iter().filter_map(|element| eval(element, scope).map(Cow::into_owned));
            Some(Cow::Owned(Value::Array(elements.collect())))
        }
        Expr::Object(properties) => {
            let value = |(name, value): &'v (String, Expr)| Some((name.clone(), eval(value, scope)?.into_owned()));
            Some(Cow::Owned(Value::Object(properties.iter().filter_map(value).collect::<Map<_, _>>())))
        }
        Expr::Not(_) | Expr::All(_) | Expr::Any(_) | Expr::In(..) | Expr::Like { .. } => boolean(expr, scope),
        Expr::Nested(kind, query) => nested(*kind, query, scope).map(Cow::Owned),
        Expr::Undefined | Expr::Parameter(_) | Expr::Aggregate(..) | Expr::Subquery(..) => None,
    }
}

fn nested(kind: Subquery, query: &Bound, scope: &Scope<'_>) -> Option<Value> {
    let Scope::Document { row, .. } = scope else { return None };
    let mut accumulator = query.accumulator();
    accumulator.push_within(scope);
    // The text is our own or a stored document's, so it is JSON.
    let results = accumulator.finish().into_iter().filter_map(|text| serde_json::from_slice::<Value>(&text).ok());
    let mut results: Vec<_> = results.collect();
    match kind {
        Subquery::Array => Some(Value::Array(results)),
        Subquery::Exists => Some(Value::Bool(!results.is_empty())),
        Subquery::Value if results.len() > 1 => {
            row.fail("a subquery in place of a value has several; ARRAY(SELECT …) takes them all");
            None
        }
        Subquery::Value => results.pop(),
    }
}

/// The value of an expression as a condition; `None` when it is undefined or no boolean.
pub(crate) fn truth<'v>(expr: &'v Expr, scope: &Scope<'v>) -> Option<bool> {
    match expr {
        Expr::Not(operand) => truth(operand, scope).map(|value| !value),
        Expr::All(operands) => unless(false, operands, scope),
        Expr::Any(operands) => unless(true, operands, scope),
        Expr::Binary(operator, a, b) => match comparison(*operator) {
            Some(Comparison::Order(holds)) => {
                let (a, b) = (eval(a, scope)?, eval(b, scope)?);
                compare_in_expression(&a, &b).map(holds)
            }
            // Values of two types are not equal, though documents say undefined: `c.a != null` is how people ask for
            // what is there, and the service's own offline evaluator answers it.
            Some(Comparison::Equality { negated }) => {
                let (a, b) = (eval(a, scope)?, eval(b, scope)?);
                Some(compare(Some(&a), Some(&b)).is_eq() != negated)
            }
            None => eval(expr, scope)?.as_bool(),
        },
        Expr::In(needle, haystack) => {
            let needle = eval(needle, scope)?;
            let is_it = |value: &'v Expr| eval(value, scope).is_some_and(|v| compare(Some(&v), Some(&needle)).is_eq());
            Some(haystack.iter().any(is_it))
        }
        Expr::Like { text, pattern, escape } => {
            let (text, pattern) = (eval(text, scope)?, eval(pattern, scope)?);
            Some(like::matches(text.as_str()?, pattern.as_str()?, *escape))
        }
        _ => eval(expr, scope)?.as_bool(),
    }
}

fn boolean(expr: &Expr, scope: &Scope<'_>) -> Option<Cow<'static, Value>> {
    truth(expr, scope).map(|value| Cow::Owned(Value::Bool(value)))
}

/// AND (decided by a false) and OR (decided by a true): else undefined if any operand is, else the opposite.
fn unless<'v>(decisive: bool, operands: &'v [Expr], scope: &Scope<'v>) -> Option<bool> {
    let mut undefined = false;
    for operand in operands {
        match truth(operand, scope) {
            Some(value) if value == decisive => return Some(decisive),
            Some(_) => {}
            None => undefined = true,
        }
    }
    (!undefined).then_some(!decisive)
}

fn path<'v>(base: &'v Expr, steps: &'v [Step], scope: &Scope<'v>) -> Option<Cow<'v, Value>> {
    let (start, steps) = match (base, steps, scope) {
        (Expr::Root, [Step::Name(name), rest @ ..], Scope::Document { row, .. }) => {
            (Cow::Borrowed(row.property(name)?), rest)
        }
        _ => (eval(base, scope)?, steps),
    };
    steps.iter().try_fold(start, |value, step| match value {
        Cow::Borrowed(value) => into(value, step).map(Cow::Borrowed),
        Cow::Owned(value) => into(&value, step).cloned().map(Cow::Owned),
    })
}

fn into<'v>(value: &'v Value, step: &Step) -> Option<&'v Value> {
    match (value, step) {
        (Value::Object(object), Step::Name(name)) => object.get(name),
        (Value::Array(array), Step::Index(index)) => array.get(*index),
        _ => None,
    }
}

enum Comparison {
    Equality { negated: bool },
    Order(fn(std::cmp::Ordering) -> bool),
}

fn comparison(operator: Operator) -> Option<Comparison> {
    Some(match operator {
        Operator::Equal => Comparison::Equality { negated: false },
        Operator::NotEqual => Comparison::Equality { negated: true },
        Operator::Less => Comparison::Order(std::cmp::Ordering::is_lt),
        Operator::LessOrEqual => Comparison::Order(std::cmp::Ordering::is_le),
        Operator::Greater => Comparison::Order(std::cmp::Ordering::is_gt),
        Operator::GreaterOrEqual => Comparison::Order(std::cmp::Ordering::is_ge),
        _ => return None,
    })
}

fn arithmetic(operator: Operator) -> Option<fn(f64, f64) -> f64> {
    Some(match operator {
        Operator::Add => |a, b| a + b,
        Operator::Subtract => |a, b| a - b,
        Operator::Multiply => |a, b| a * b,
        Operator::Divide => |a, b| a / b,
        Operator::Remainder => |a, b| a % b,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::bound::tests::results;

    /// `""` stands for undefined.
    fn check(cases: &[(&str, &str)]) {
        let document = r#"{"a":1,"b":"x","z":null,"t":true,"f":false,"l":[10,[20]],"o":{"p":{"q":5},"in":1}}"#;
        for (expr, expected) in cases {
            let found = results(&format!("SELECT VALUE {expr} FROM c"), &[document]).concat();
            assert_eq!(found, *expected, "{expr}");
        }
    }

    #[test]
    fn logic_has_three_values() {
        check(&[
            ("true AND c.no", ""),
            ("false AND c.no", "false"),
            ("c.no AND false", "false"),
            ("true OR c.no", "true"),
            ("c.no OR true", "true"),
            ("false OR c.no", ""),
            ("NOT c.no", ""),
            ("NOT c.t", "false"),
            ("NOT 1", ""),
            ("1 AND true", ""),
            ("1 OR true", "true"),
            ("true OR false AND false", "true"),
            ("NOT false AND false", "false"),
        ]);
    }

    #[test]
    fn comparisons_across_types_are_unequal_and_have_no_order() {
        check(&[
            ("1 = '1'", "false"),
            ("c.a != null", "true"),
            ("c.z = null", "true"),
            ("c.no = null", ""),
            ("c.no != 1", ""),
            ("c.no = undefined", ""),
            ("1 < '2'", ""),
            ("null < 1", ""),
            ("null <= null", "true"),
            ("false < true", "true"),
            ("'a' < 'b'", "true"),
            ("1 >= 1.0", "true"),
            ("[1] = [1.0]", "true"),
            ("{a: 1} <> {a: 2}", "true"),
            ("[1] < [2]", ""),
        ]);
    }

    #[test]
    fn membership_ranges_and_patterns() {
        check(&[
            ("c.a IN (2, 1.0)", "true"),
            ("c.a IN ('1')", "false"),
            ("c.a NOT IN (2)", "true"),
            ("c.no IN (1)", ""),
            ("c.no NOT IN (1)", ""),
            ("c.a IN (c.no, 1)", "true"),
            ("c.a BETWEEN 1 AND 2", "true"),
            ("c.a NOT BETWEEN 1 AND 2", "false"),
            ("c.a BETWEEN 'a' AND 'b'", ""),
            ("c.a BETWEEN 2 AND 3 OR true", "true"),
            ("c.b LIKE 'x%'", "true"),
            ("c.b NOT LIKE 'y_'", "true"),
            ("c.a LIKE '1'", ""),
            ("'a%' LIKE 'a!%' ESCAPE '!'", "true"),
        ]);
    }

    #[test]
    fn arithmetic_is_on_numbers_and_gives_numbers() {
        check(&[
            ("1 + 2 * 3", "7"),
            ("(1 + 2) * 3", "9"),
            ("7 - 2 - 1", "4"),
            ("7 / 2", "3.5"),
            ("7 % 4", "3"),
            ("1 / 0", ""),
            ("0 / 0", ""),
            ("1 + '1'", ""),
            ("-c.a", "-1"),
            ("- -1", "1"),
            ("+c.b", ""),
            ("+c.a", "1"),
            ("007", "7"),
            ("0.50e1", "5.0"),
            ("'a' || 'b' || c.b", "\"abx\""),
            ("'a' || 1", ""),
            ("1 + 1 = 2 AND 'a' || 'b' = 'ab'", "true"),
        ]);
    }

    #[test]
    fn choices() {
        check(&[
            ("c.no ?? c.z ?? 1", "null"),
            ("c.no ?? c.no ?? 1", "1"),
            ("c.t ? 1 : 2", "1"),
            ("c.no ? 1 : 2", "2"),
            ("c.a ? 1 : 2", "2"),
            ("false ? 1 : true ? 2 : 3", "2"),
        ]);
    }

    #[test]
    fn paths_and_constructors() {
        check(&[
            ("c.o.p.q", "5"),
            ("c[\"o\"]['p'].q", "5"),
            ("c.o[\"in\"]", "1"),
            ("c.l[1][0]", "20"),
            ("c.l[2]", ""),
            ("c.l.x", ""),
            ("c.o[0]", ""),
            ("c.b.x", ""),
            ("{x: [1, 2]}.x[1]", "2"),
            ("[c.no, c.a, undefined]", "[1]"),
            ("{n: c.no, a: c.a, 'o p': {}}", r#"{"a":1,"o p":{}}"#),
            ("c.no", ""),
            ("undefined", ""),
        ]);
    }
}
