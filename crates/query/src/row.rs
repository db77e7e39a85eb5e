use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::Error;

/// What a query looks at in one document.
#[derive(Clone, Debug)]
pub struct Row<'t> {
    text: &'t [u8],
    fields: Fields<'t>,
    /// What it still may have of the combinations of its arrays' elements.
    combinations_left: Cell<u32>,
    fault: Cell<Option<&'static str>>,
}

/// A document of 2 MB may have arrays of which one JOIN makes as many combinations as there are atoms.
const COMBINATIONS_MAX: u32 = 1_000_000;
const TOO_MANY: &str = "one document gives more than 1000000 combinations of its arrays' elements";

#[derive(Clone, Debug)]
enum Fields<'t> {
    Whole(Value),
    Some { names: &'t [String], values: Vec<Option<Value>> },
}

impl<'t> Row<'t> {
    pub(crate) fn whole_of(text: &'t [u8]) -> Result<Self, serde_json::Error> {
        let whole: Value = serde_json::from_slice(text)?;
        if whole.is_object() {
            Ok(Self::new(text, Fields::Whole(whole)))
        } else {
            Err(serde_json::Error::custom("a document is an object"))
        }
    }

    /// The top-level properties in `names`, and nothing else: other values are skipped, not built.
    pub(crate) fn some_of(text: &'t [u8], names: &'t [String]) -> Result<Self, serde_json::Error> {
        let mut values = vec![None; names.len()];
        if !names.is_empty() {
            let mut deserializer = serde_json::Deserializer::from_slice(text);
            deserializer.deserialize_map(Pick { names, values: &mut values })?;
            deserializer.end()?;
        }
        Ok(Self::new(text, Fields::Some { names, values }))
    }

    fn new(text: &'t [u8], fields: Fields<'t>) -> Self {
        Self { text, fields, combinations_left: Cell::new(COMBINATIONS_MAX), fault: Cell::new(None) }
    }

    /// To be asked when all that a query wants of the document has been taken: whether that was an answer.
    pub fn judge(&self) -> Result<(), Error> {
        self.fault.get().map_or(Ok(()), |reason| Err(Error::Unanswerable { reason }))
    }

    /// The answer is none: evaluating goes on as if something were undefined.
    pub(crate) fn fail(&self, reason: &'static str) {
        self.fault.set(Some(reason));
    }

    /// One more combination; whether it may be looked at.
    pub(crate) fn combine(&self) -> bool {
        let left = self.combinations_left.get().checked_sub(1);
        match left {
            Some(left) => self.combinations_left.set(left),
            None => self.fail(TOO_MANY),
        }
        left.is_some()
    }

    /// The document as it was given.
    pub fn text(&self) -> &'t [u8] {
        self.text
    }

    pub(crate) fn whole(&self) -> Option<&Value> {
        match &self.fields {
            Fields::Whole(value) => Some(value),
            Fields::Some { .. } => None,
        }
    }

    pub(crate) fn property(&self, name: &str) -> Option<&Value> {
        match &self.fields {
            Fields::Whole(value) => value.get(name),
            Fields::Some { names, values } => {
                let index = names.iter().position(|known| known == name)?;
                values[index].as_ref()
            }
        }
    }
}

struct Pick<'a> {
    names: &'a [String],
    values: &'a mut [Option<Value>],
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            match self.names.iter().position(|wanted| *wanted == name) {
                Some(index) => self.values[index] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A property's name, borrowed from the text unless it is written with escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a property's name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_wanted_is_read_whatever_way_its_name_is_written() {
        let names = ["a".to_owned(), "missing".to_owned()];
        let text = br#" {"b":{"a":2},"\u0061":[1,{"x":"y"}],"c":"\"a\":3"} "#;
        let row = Row::some_of(text, &names).unwrap();
        assert_eq!(row.property("a"), Some(&json!([1, {"x": "y"}])));
        assert_eq!(row.property("missing"), None);
        assert_eq!(row.property("b"), None);
        assert_eq!(row.text(), text);
    }

    #[test]
    fn of_a_property_written_twice_the_last_counts_as_when_all_is_read() {
        let names = ["a".to_owned()];
        let text = br#"{"a":1,"a":2}"#;
        assert_eq!(Row::some_of(text, &names).unwrap().property("a"), Some(&json!(2)));
        assert_eq!(Row::whole_of(text).unwrap().property("a"), Some(&json!(2)));
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        let names = ["a".to_owned()];
        for text in ["[]", "1", "", "{\"b\":1", "{} {}", "{\"a\":tru}"] {
            assert!(Row::some_of(text.as_bytes(), &names).is_err(), "{text}");
            assert!(Row::whole_of(text.as_bytes()).is_err(), "{text}");
        }
    }
}
