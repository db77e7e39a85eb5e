use std::cmp::Ordering;

use serde_json::Value;

/// Cosmos' order across types: undefined, null, false, true, numbers, strings, arrays, objects.
///
/// Numbers are compared as doubles, which is what the service stores; strings by their UTF-8 bytes; arrays and objects
/// element by element, so that equal means equal all the way down.
pub fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let (Some(a), Some(b)) = (a, b) else { return a.is_some().cmp(&b.is_some()) };
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        // JSON has no NaN.
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let elements = a.iter().zip(b).map(|(a, b)| compare(Some(a), Some(b)));
            first_difference(elements).then(a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let properties = a.iter().zip(b).map(|((a, x), (b, y))| a.cmp(b).then_with(|| compare(Some(x), Some(y))));
            first_difference(properties).then(a.len().cmp(&b.len()))
        }
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

fn first_difference(mut orders: impl Iterator<Item = Ordering>) -> Ordering {
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

/// What `<` and its kin compare: two of one scalar type. Anything else has no order within an expression.
pub(crate) fn compare_in_expression(a: &Value, b: &Value) -> Option<Ordering> {
    (rank(a) == rank(b) && rank(a) < 4).then(|| compare(Some(a), Some(b)))
}

/// A computed number as JSON; `None` for what JSON cannot say. Whole numbers print without a fraction.
pub(crate) fn number(value: f64) -> Option<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        return Some(Value::from(value as i64));
    }
    serde_json::Number::from_f64(value).map(Value::Number)
}

/// A value, or undefined, in the cross-type order.
#[derive(Clone, Debug)]
pub(crate) struct Ranked(pub(crate) Option<Value>);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self.0.as_ref(), other.0.as_ref())
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

/// A document's place in a query's order, directions included. Compares only with keys of the same query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SortKey(Vec<(Ranked, bool)>);

impl SortKey {
    pub(crate) fn push(&mut self, value: Option<Value>, descending: bool) {
        self.0.push((Ranked(value), descending));
    }
}

impl Ord for SortKey {
    fn cmp(&self, other: &Self) -> Ordering {
        first_difference(self.0.iter().zip(&other.0).map(
            |((a, descending), (b, _))| {
                if *descending { b.cmp(a) } else { a.cmp(b) }
            },
        ))
    }
}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3..3_i64).prop_map(Value::from),
            prop_oneof![Just(0.0), Just(-0.0), Just(0.5), Just(1.0), Just(-2.0)].prop_map(|n: f64| Value::from(n)),
            "[ab]{0,2}".prop_map(Value::from),
        ];
        scalar.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[ab]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn types_come_in_the_order_of_the_service() {
        let ascending = [
            None,
            Some(json!(null)),
            Some(json!(false)),
            Some(json!(true)),
            Some(json!(-1)),
            Some(json!(0.5)),
            Some(json!(1)),
            Some(json!("")),
            Some(json!("a")),
            Some(json!("b")),
            Some(json!([])),
            Some(json!([9])),
            Some(json!({})),
            Some(json!({"a": 1})),
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a.as_ref(), b.as_ref()), i.cmp(&j), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn one_is_one_however_it_is_written() {
        assert!(compare(Some(&json!(1)), Some(&json!(1.0))).is_eq());
        assert!(compare(Some(&json!({"a": [1]})), Some(&json!({"a": [1.0]}))).is_eq());
    }

    #[test]
    fn a_key_honours_the_direction_of_each_part() {
        let key = |a: i64, b: i64| {
            let mut key = SortKey::default();
            key.push(Some(a.into()), false);
            key.push(Some(b.into()), true);
            key
        };
        assert!(key(1, 1) < key(2, 1));
        assert!(key(1, 2) < key(1, 1));
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in any_value(), b in any_value(), c in any_value()) {
            let order = |x: &Value, y: &Value| compare(Some(x), Some(y));
            prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
            prop_assert!(order(&a, &a).is_eq());
            if order(&a, &b).is_le() && order(&b, &c).is_le() {
                prop_assert!(order(&a, &c).is_le());
            }
            prop_assert!(compare(None, Some(&a)).is_lt());
        }

        #[test]
        fn a_computed_number_keeps_its_value(value in any::<f64>()) {
            match number(value) {
                Some(json) => prop_assert_eq!(json.as_f64(), Some(value)),
                None => prop_assert!(!value.is_finite()),
            }
        }
    }
}
