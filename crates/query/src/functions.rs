use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde_json::Value;

use crate::ast::Expr;
use crate::eval::{Scope, eval};
use crate::value::{compare, number};

/// A built-in function. Names match in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    IsDefined,
    IsNull,
    IsString,
    IsNumber,
    IsBool,
    IsArray,
    IsObject,
    ArrayContains,
    ArrayLength,
    StartsWith,
    EndsWith,
    Contains,
    Lower,
    Upper,
    Length,
    Concat,
    Abs,
    Floor,
    Ceiling,
    Round,
}

const TABLE: [(Function, &str, RangeInclusive<usize>); 20] = [
    (Function::IsDefined, "IS_DEFINED", 1..=1),
    (Function::IsNull, "IS_NULL", 1..=1),
    (Function::IsString, "IS_STRING", 1..=1),
    (Function::IsNumber, "IS_NUMBER", 1..=1),
    (Function::IsBool, "IS_BOOL", 1..=1),
    (Function::IsArray, "IS_ARRAY", 1..=1),
    (Function::IsObject, "IS_OBJECT", 1..=1),
    (Function::ArrayContains, "ARRAY_CONTAINS", 2..=3),
    (Function::ArrayLength, "ARRAY_LENGTH", 1..=1),
    (Function::StartsWith, "STARTSWITH", 2..=3),
    (Function::EndsWith, "ENDSWITH", 2..=3),
    (Function::Contains, "CONTAINS", 2..=3),
    (Function::Lower, "LOWER", 1..=1),
    (Function::Upper, "UPPER", 1..=1),
    (Function::Length, "LENGTH", 1..=1),
    (Function::Concat, "CONCAT", 2..=usize::MAX),
    (Function::Abs, "ABS", 1..=1),
    (Function::Floor, "FLOOR", 1..=1),
    (Function::Ceiling, "CEILING", 1..=1),
    (Function::Round, "ROUND", 1..=1),
];

impl Function {
    /// The function of this upper-case name, and how many arguments it takes.
    pub(crate) fn named(name: &str) -> Option<(Self, RangeInclusive<usize>)> {
        TABLE.iter().find(|(_, known, _)| *known == name).map(|(function, _, arity)| (*function, arity.clone()))
    }

    pub(crate) fn name(self) -> &'static str {
        TABLE.iter().find(|(function, _, _)| *function == self).map_or("", |(_, name, _)| name)
    }

    /// Undefined when an argument is of a type the function does not take; the type tests are then false instead.
    pub(crate) fn call(self, arguments: &[Expr], scope: &Scope<'_>) -> Option<Value> {
        let value = |index: usize| arguments.get(index).and_then(|argument| eval(argument, scope));
        let first = value(0);
        let is = |test: fn(&Value) -> bool| Some(Value::from(first.as_deref().is_some_and(test)));
        let rounded = |round: fn(f64) -> f64| first.as_deref().and_then(Value::as_f64).and_then(|n| number(round(n)));
        match self {
            Self::IsDefined => is(|_| true),
            Self::IsNull => is(Value::is_null),
            Self::IsString => is(Value::is_string),
            Self::IsNumber => is(Value::is_number),
            Self::IsBool => is(Value::is_boolean),
            Self::IsArray => is(Value::is_array),
            Self::IsObject => is(Value::is_object),
            Self::Abs => rounded(f64::abs),
            Self::Floor => rounded(f64::floor),
            Self::Ceiling => rounded(f64::ceil),
            // Halves go away from zero, as the service rounds them.
            Self::Round => rounded(f64::round),
            Self::ArrayLength => Some(first?.as_array()?.len().into()),
            Self::Length => Some(first?.as_str()?.chars().count().into()),
            Self::Lower => Some(first?.as_str()?.to_lowercase().into()),
            Self::Upper => Some(first?.as_str()?.to_uppercase().into()),
            Self::Concat => {
                let mut text = String::new();
                for argument in arguments {
                    text.push_str(eval(argument, scope)?.as_str()?);
                }
                Some(text.into())
            }
            Self::StartsWith | Self::EndsWith | Self::Contains => {
                let (first, second) = (first?, value(1)?);
                let (text, part) = (first.as_str()?, second.as_str()?);
                let ignore_case = flag(arguments.get(2), scope)?;
                let fold = |text| if ignore_case { Cow::Owned(str::to_lowercase(text)) } else { Cow::Borrowed(text) };
                let (text, part) = (fold(text), fold(part));
                Some(Value::from(match self {
                    Self::StartsWith => text.starts_with(&*part),
                    Self::EndsWith => text.ends_with(&*part),
                    _ => text.contains(&*part),
                }))
            }
            Self::ArrayContains => {
                let (first, wanted) = (first?, value(1)?);
                let partial = flag(arguments.get(2), scope)?;
                let fits = |element: &Value| if partial { covers(element, &wanted) } else { same(element, &wanted) };
                Some(first.as_array()?.iter().any(fits).into())
            }
        }
    }
}

/// An optional argument that must be a boolean.
fn flag(argument: Option<&Expr>, scope: &Scope<'_>) -> Option<bool> {
    argument.map_or(Some(false), |argument| eval(argument, scope)?.as_bool())
}

fn same(a: &Value, b: &Value) -> bool {
    compare(Some(a), Some(b)).is_eq()
}

/// Whether `element` is an object with all that `wanted` has, or simply the same.
fn covers(element: &Value, wanted: &Value) -> bool {
    match (element, wanted) {
        (Value::Object(element), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| element.get(name).is_some_and(|value| covers(value, wanted)))
        }
        (element, wanted) => same(element, wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bound::tests::results;

    #[test]
    fn every_function_is_found_under_the_name_it_prints() {
        for (function, name, arity) in TABLE {
            assert_eq!(Function::named(name), Some((function, arity)));
            assert_eq!(function.name(), name);
        }
    }

    #[test]
    fn functions_give_what_the_service_gives() {
        let document = r#"{"a":[1,"x",{"p":1,"q":[2]}],"s":"Straße","n":-2.5,"z":null,"t":true,"o":{}}"#;
        let cases = [
            ("IS_DEFINED(c.z)", "true"),
            ("IS_DEFINED(c.no)", "false"),
            ("IS_NULL(c.z)", "true"),
            ("IS_NULL(c.no)", "false"),
            (
                "[is_string(c.s), is_number(c.n), is_bool(c.t), is_array(c.a), is_object(c.o)]",
                "[true,true,true,true,true]",
            ),
            (
                "[IS_STRING(c.n), IS_NUMBER(c.s), IS_BOOL(c.z), IS_ARRAY(c.o), IS_OBJECT(c.a)]",
                "[false,false,false,false,false]",
            ),
            ("ARRAY_CONTAINS(c.a, 1.0)", "true"),
            ("ARRAY_CONTAINS(c.a, {p: 1})", "false"),
            ("ARRAY_CONTAINS(c.a, {p: 1}, true)", "true"),
            ("ARRAY_CONTAINS(c.a, {p: 2}, true)", "false"),
            ("ARRAY_CONTAINS(c.s, 's')", ""),
            ("ARRAY_CONTAINS(c.a, c.no)", ""),
            ("ARRAY_LENGTH(c.a)", "3"),
            ("ARRAY_LENGTH(c.s)", ""),
            ("STARTSWITH(c.s, 'Str')", "true"),
            ("STARTSWITH(c.s, 'str')", "false"),
            ("STARTSWITH(c.s, 'str', true)", "true"),
            ("STARTSWITH(c.s, 'str', 1)", ""),
            ("STARTSWITH(c.n, '-')", ""),
            ("ENDSWITH(c.s, 'ße')", "true"),
            ("CONTAINS(c.s, 'raß')", "true"),
            ("CONTAINS(c.s, c.no)", ""),
            ("UPPER('ab')", "\"AB\""),
            ("LOWER('AB')", "\"ab\""),
            ("LENGTH(c.s)", "6"),
            ("LENGTH(c.a)", ""),
            ("CONCAT('a', 'b', c.s)", "\"abStraße\""),
            ("CONCAT('a', 1)", ""),
            ("[ABS(c.n), FLOOR(c.n), CEILING(c.n), ROUND(c.n), ROUND(2.4)]", "[2.5,-3,-2,-3,2]"),
            ("ABS('1')", ""),
        ];
        for (expr, expected) in cases {
            let found = results(&format!("SELECT VALUE {expr} FROM c"), &[document]).concat();
            assert_eq!(found, expected, "{expr}");
        }
    }
}
