use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::DecodeError;

/// The members of a JSON object in their order, each value as its text: what nobody understands is carried unchanged.
#[derive(Clone, Debug, Default)]
pub struct Members<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'a> Members<'a> {
    /// Fails when the text is not a JSON object.
    pub fn parse(json: &'a [u8]) -> Result<Self, DecodeError> {
        serde_json::from_slice(json).map_err(|error| DecodeError::NotAnObject(error.to_string()))
    }

    /// The text of a member's value. Of one given twice the last, as JSON parsers commonly read it.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().rev().find(|(member, _)| member == name).map(|(_, value)| &**value)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// Leaves out what `keep` refuses by name.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// Sets a member where it stands, or appends it. One given twice is there once afterwards.
    pub fn set(&mut self, name: &'static str, value: impl Into<serde_json::Value>) {
        let text = value.into().to_string();
        let mut value = Some(Cow::Owned(RawValue::from_string(text).expect("a JSON value's text is JSON")));
        self.0.retain_mut(|(member, old)| member != name || value.take().map(|value| *old = value).is_some());
        if let Some(value) = value {
            self.0.push((Cow::Borrowed(name), value));
        }
    }

    /// Puts these members first, in this order; the others keep theirs.
    pub fn put_first(&mut self, names: &[&str]) {
        let rank = |name: &str| names.iter().position(|first| *first == name).unwrap_or(names.len());
        self.0.sort_by_key(|(name, _)| rank(name));
    }

    /// Leaves out the members, after the first `keep`, with which the object's text would pass `bytes_max`. Says whether
    /// it left out any.
    pub fn cut(&mut self, keep: usize, bytes_max: usize) -> bool {
        let before = self.0.len();
        let mut bytes = 2;
        let mut index = 0;
        self.0.retain(|(name, value)| {
            // Quotes, colon and comma; escapes in a name make it longer, which a bound of this kind can bear.
            let with = bytes + name.len() + value.get().len() + 4;
            let kept = index < keep || with <= bytes_max;
            index += 1;
            if kept {
                bytes = with;
            }
            kept
        });
        self.0.len() < before
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, &**value)?;
        }
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(16);
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            members.push((name, Cow::Borrowed(value)));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(members: &Members<'_>) -> String {
        serde_json::to_string(members).unwrap()
    }

    #[test]
    fn members_keep_their_order_and_the_text_of_their_values() {
        let json = r#"{"b":1.00,"a\n":{"x":[1e400,"\u00e9"]},"n":12345678901234567890123}"#;
        assert_eq!(text(&Members::parse(json.as_bytes()).unwrap()), json);
    }

    #[test]
    fn a_member_is_set_in_its_place_or_at_the_end() {
        let mut members = Members::parse(br#"{"a":1,"b":2}"#).unwrap();
        members.set("a", "x");
        members.set("c", true);
        assert_eq!(text(&members), r#"{"a":"x","b":2,"c":true}"#);
        let mut twice = Members::parse(br#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(twice.get("a").unwrap().get(), "3");
        twice.set("a", 4);
        assert_eq!(text(&twice), r#"{"a":4,"b":2}"#);
        members.put_first(&["c", "b"]);
        assert_eq!(text(&members), r#"{"c":true,"b":2,"a":"x"}"#);
    }

    #[test]
    fn a_cut_leaves_out_what_does_not_fit_and_keeps_what_does() {
        let mut members = Members::parse(br#"{"id":"1234567890","text":"long long","x":1}"#).unwrap();
        assert!(members.cut(1, 26));
        assert_eq!(text(&members), r#"{"id":"1234567890","x":1}"#);
        assert!(!members.cut(1, 26));
    }

    #[test]
    fn what_is_not_an_object_is_an_error() {
        for bad in [&b"[]"[..], b"17", b"{", b"\xff", b"{\"a\":\"\xff\"}"] {
            assert!(matches!(Members::parse(bad), Err(DecodeError::NotAnObject(_))));
        }
    }
}
