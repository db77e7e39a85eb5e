use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::value::Found;

/// Fields that belong to the store: left out of what is stored, put in by every read.
const SYSTEM_FIELDS: [&str; 6] = ["_rid", "_self", "_etag", "_ts", "_attachments", "_lsn"];

/// Which paths of a document somebody wants to know, and which are not indexed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    root: Node,
    slots: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: Vec<(Box<str>, Node)>,
    slot: Option<usize>,
    excluded: bool,
}

impl Paths {
    /// Where [`Scan::found`] will have what is at `path`. The same path has the same slot.
    pub(crate) fn want<S: AsRef<str>>(&mut self, path: &[S]) -> usize {
        let node = self.root.descend(path);
        let slot = *node.slot.get_or_insert(self.slots);
        self.slots = self.slots.max(slot + 1);
        slot
    }

    /// Leaves what is at `path` and below out of the count of indexed values.
    pub(crate) fn exclude<S: AsRef<str>>(&mut self, path: &[S]) {
        self.root.descend(path).excluded = true;
    }

    /// Reads `text` once, to its end: fails unless it is the JSON text of an object.
    pub(crate) fn scan<'a>(&self, text: &'a str) -> Result<Scan<'a>, serde_json::Error> {
        let mut scan = Scan { found: vec![Found::Undefined; self.slots], indexed_values: 0, has_system_fields: false };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.deserialize_map(Root { node: &self.root, scan: &mut scan })?;
        deserializer.end()?;
        Ok(scan)
    }
}

impl Node {
    fn descend<S: AsRef<str>>(&mut self, path: &[S]) -> &mut Self {
        let mut node = self;
        for name in path {
            let name = name.as_ref();
            let at = node.children.iter().position(|(child, _)| &**child == name).unwrap_or_else(|| {
                node.children.push((name.into(), Self::default()));
                node.children.len() - 1
            });
            node = &mut node.children[at].1;
        }
        node
    }

    fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|(child, _)| &**child == name).map(|(_, node)| node)
    }
}

/// What one reading of a document's text has found.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    /// By slot. Of a name that appears twice the last one counts, as for most readers of JSON.
    pub(crate) found: Vec<Found<'a>>,
    /// Numbers, strings, booleans and nulls outside excluded paths.
    pub(crate) indexed_values: u32,
    pub(crate) has_system_fields: bool,
}

/// The text without the store's own fields and without white space around.
pub(crate) fn without_system_fields(text: &str) -> Result<Vec<u8>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(Strip)
}

struct Root<'s, 'a> {
    node: &'s Node,
    scan: &'s mut Scan<'a>,
}

impl<'a> Visitor<'a> for Root<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            if name.starts_with('_') && SYSTEM_FIELDS.contains(&&*name) {
                self.scan.has_system_fields = true;
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            map.next_value_seed(Inside {
                node: self.node.child(&name),
                excluded: self.node.excluded,
                scan: self.scan,
            })?;
        }
        Ok(())
    }
}

/// A value somewhere inside; `node` while its path may still lead to something wanted.
struct Inside<'s, 'a> {
    node: Option<&'s Node>,
    excluded: bool,
    scan: &'s mut Scan<'a>,
}

impl<'a> Inside<'_, 'a> {
    fn note(&mut self, found: impl FnOnce() -> Found<'a>) {
        if let Some(slot) = self.node.and_then(|node| node.slot) {
            self.scan.found[slot] = found();
        }
    }

    fn count(&mut self) {
        if !self.excluded {
            self.scan.indexed_values += 1;
        }
    }
}

impl<'a> DeserializeSeed<'a> for Inside<'_, 'a> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(mut self, deserializer: D) -> Result<(), D::Error> {
        self.excluded |= self.node.is_some_and(|node| node.excluded);
        if self.excluded && self.node.is_none_or(|node| node.children.is_empty() && node.slot.is_none()) {
            return deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Inside<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(mut self) -> Result<(), E> {
        self.note(|| Found::Null);
        self.count();
        Ok(())
    }

    fn visit_bool<E>(mut self, value: bool) -> Result<(), E> {
        self.note(|| Found::Bool(value));
        self.count();
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: serde::de::Error>(mut self, value: f64) -> Result<(), E> {
        self.note(|| Found::Number(value));
        self.count();
        Ok(())
    }

    fn visit_borrowed_str<E>(mut self, value: &'a str) -> Result<(), E> {
        self.note(|| Found::String(Cow::Borrowed(value)));
        self.count();
        Ok(())
    }

    fn visit_str<E>(mut self, value: &str) -> Result<(), E> {
        self.note(|| Found::String(Cow::Owned(value.to_owned())));
        self.count();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
        self.note(|| Found::Array);
        // `[]` stands for every element in a path of the indexing policy.
        let node = self.node.and_then(|node| node.child("[]"));
        while seq.next_element_seed(Inside { node, excluded: self.excluded, scan: self.scan })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.note(|| Found::Object);
        let Some(node) = self.node.filter(|node| !node.children.is_empty()) else {
            while map.next_key::<IgnoredAny>()?.is_some() {
                map.next_value_seed(Inside { node: None, excluded: self.excluded, scan: self.scan })?;
            }
            return Ok(());
        };
        while let Some(Name(name)) = map.next_key()? {
            map.next_value_seed(Inside { node: node.child(&name), excluded: self.excluded, scan: self.scan })?;
        }
        Ok(())
    }
}

/// A property's name, borrowed where it has no escapes. (serde's own `Cow` always copies.)
struct Name<'a>(Cow<'a, str>);

impl<'a> serde::Deserialize<'a> for Name<'a> {
    fn deserialize<D: serde::Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'a> Visitor<'a> for Visit {
            type Value = Name<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'a str) -> Result<Name<'a>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'a>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Visit)
    }
}

struct Strip;

impl<'a> Visitor<'a> for Strip {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Vec<u8>, A::Error> {
        let mut kept = vec![b'{'];
        while let Some(Name(name)) = map.next_key()? {
            let value: &RawValue = map.next_value()?;
            if SYSTEM_FIELDS.contains(&&*name) {
                continue;
            }
            if kept.len() > 1 {
                kept.push(b',');
            }
            serde_json::to_writer(&mut kept, &name).map_err(serde::de::Error::custom)?;
            kept.push(b':');
            kept.extend(value.get().as_bytes());
        }
        kept.push(b'}');
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reading_finds_what_is_wanted_and_counts_what_is_indexed() {
        let mut paths = Paths::default();
        let (id, city, tags) = (paths.want(&["id"]), paths.want(&["home", "city"]), paths.want(&["tags"]));
        paths.exclude(&["_source"]);
        let text =
            r#" {"id":"a\u0062","home":{"city":"Oslo","zip":[1,2]},"_source":{"x":1,"y":[1]},"tags":[true],"n":null} "#;
        let scan = paths.scan(text).unwrap();
        assert_eq!(scan.found[id], Found::String("ab".into()));
        assert_eq!(scan.found[city], Found::String("Oslo".into()));
        assert_eq!(scan.found[tags], Found::Array);
        assert_eq!(scan.indexed_values, 6, "id, city, two of zip, one tag, n");
        assert!(!scan.has_system_fields);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let paths = Paths::default();
        for text in ["", "1", "[]", "null", "{", "{}x", r#"{"a":}"#, r#"{"a":1,}"#, "{\"a\":\"\u{1}\"}"] {
            assert!(paths.scan(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_stores_own_fields_are_left_out_and_all_else_stays_as_it_was() {
        let text =
            r#" {"_rid":"x","id":"1", "_source" : { "a": 1.50 },"_etag":"\"1\"","_ts":1,"\"q":[1 ,2],"_self":{}} "#;
        assert!(Paths::default().scan(text).unwrap().has_system_fields);
        let kept = without_system_fields(text).unwrap();
        assert_eq!(String::from_utf8(kept).unwrap(), r#"{"id":"1","_source":{ "a": 1.50 },"\"q":[1 ,2]}"#);
    }
}
