use serde_json::Value;

use crate::value::{compare, number};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aggregate {
    Count,
    Sum,
    Min,
    Max,
    Avg,
}

impl Aggregate {
    pub(crate) const ALL: [Self; 5] = [Self::Count, Self::Sum, Self::Min, Self::Max, Self::Avg];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|aggregate| aggregate.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Sum => "SUM",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Avg => "AVG",
        }
    }
}

/// An aggregate under way. Undefined values leave no trace in any of them.
#[derive(Clone, Debug)]
pub(crate) struct State {
    kind: Aggregate,
    count: u64,
    sum: f64,
    extreme: Option<Value>,
    /// A value of a type the aggregate does not take makes the whole result undefined.
    spoilt: bool,
}

impl State {
    pub(crate) fn new(kind: Aggregate) -> Self {
        Self { kind, count: 0, sum: 0.0, extreme: None, spoilt: false }
    }

    pub(crate) fn push(&mut self, value: Option<&Value>) {
        let Some(value) = value else { return };
        self.count += 1;
        match self.kind {
            Aggregate::Count => {}
            Aggregate::Sum | Aggregate::Avg => match value.as_f64() {
                Some(value) => self.sum += value,
                None => self.spoilt = true,
            },
            Aggregate::Min | Aggregate::Max => {
                let order = compare(Some(value), self.extreme.as_ref());
                if value.is_array() || value.is_object() {
                    self.spoilt = true;
                } else if self.extreme.is_none()
                    || if self.kind == Aggregate::Min { order.is_lt() } else { order.is_gt() }
                {
                    self.extreme = Some(value.clone());
                }
            }
        }
    }

    /// Of nothing: 0 for COUNT and SUM, undefined for the rest.
    pub(crate) fn result(self) -> Option<Value> {
        match self.kind {
            _ if self.spoilt => None,
            Aggregate::Count => Some(self.count.into()),
            Aggregate::Sum => number(self.sum),
            Aggregate::Avg if self.count == 0 => None,
            Aggregate::Avg => number(self.sum / self.count as f64),
            Aggregate::Min | Aggregate::Max => self.extreme,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::bound::tests::results;

    #[test]
    fn aggregates_take_what_is_defined_and_fail_on_what_they_cannot_add() {
        let cases: [(&str, &[&str], &str); 16] = [
            ("COUNT(1)", &[], "0"),
            ("COUNT(1)", &["{}", "{}"], "2"),
            ("COUNT(c.a)", &["{}", r#"{"a":null}"#], "1"),
            ("SUM(c.a)", &[], "0"),
            ("SUM(c.a)", &[r#"{"a":1}"#, "{}", r#"{"a":2.5}"#], "3.5"),
            ("SUM(c.a)", &[r#"{"a":1}"#, r#"{"a":"x"}"#], ""),
            ("AVG(c.a)", &[], ""),
            ("AVG(c.a)", &[r#"{"a":1}"#, "{}", r#"{"a":2}"#], "1.5"),
            ("AVG(c.a)", &[r#"{"a":1}"#, r#"{"a":null}"#], ""),
            ("MIN(c.a)", &[], ""),
            ("MIN(c.a)", &[r#"{"a":2}"#, r#"{"a":"x"}"#, r#"{"a":1}"#], "1"),
            ("MIN(c.a)", &[r#"{"a":2}"#, r#"{"a":null}"#], "null"),
            ("MAX(c.a)", &[r#"{"a":2}"#, r#"{"a":"x"}"#, "{}"], "\"x\""),
            ("MAX(c.a)", &[r#"{"a":2}"#, r#"{"a":[]}"#], ""),
            ("SUM(c.a) / COUNT(c.a)", &[r#"{"a":1}"#, r#"{"a":2}"#], "1.5"),
            ("count(1) > 1 ? 'many' : 'few'", &["{}", "{}"], "\"many\""),
        ];
        for (expr, documents, expected) in cases {
            let found = results(&format!("SELECT VALUE {expr} FROM c"), documents).concat();
            assert_eq!(found, expected, "{expr} of {documents:?}");
        }
    }
}
