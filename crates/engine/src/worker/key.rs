//! The partition key of a change, read from its JSON text without parsing the rest into memory.

use std::fmt;

use feedmill_store_api::{KeyPart, PartitionKey};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The paths of a container's partition key.
#[derive(Clone, Debug)]
pub(crate) struct KeyPaths(Vec<Vec<String>>);

impl KeyPaths {
    /// Of paths such as `/postId` or `/address/city`.
    pub(crate) fn new(paths: &[String]) -> Self {
        let segments = |path: &String| path.split('/').skip(1).map(|part| part.trim_matches('"').to_owned()).collect();
        Self(paths.iter().map(segments).collect())
    }

    /// The key of `body`. A document without a path has `Undefined` there. `Err` for what is not a JSON object, and for
    /// a key that is itself an object or an array.
    pub(crate) fn of(&self, body: &[u8]) -> Result<PartitionKey, serde_json::Error> {
        let mut parts = Vec::with_capacity(self.0.len());
        for path in &self.0 {
            let mut deserializer = serde_json::Deserializer::from_slice(body);
            parts.push(At(path).deserialize(&mut deserializer)?);
            deserializer.end()?;
        }
        Ok(PartitionKey::from_parts(parts))
    }
}

/// Reads what is at a path.
struct At<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = KeyPart;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<KeyPart, D::Error> {
        match self.0 {
            [] => deserializer.deserialize_any(Scalar),
            [_, ..] => deserializer.deserialize_any(Inside(self.0)),
        }
    }
}

struct Inside<'a>(&'a [String]);

impl<'de> Visitor<'de> for Inside<'_> {
    type Value = KeyPart;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with {}", self.0[0])
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeyPart, A::Error> {
        let mut found = KeyPart::Undefined;
        while let Some(is_next) = map.next_key_seed(Is(&self.0[0]))? {
            if is_next {
                found = map.next_value_seed(At(&self.0[1..]))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a name is the one looked for.
struct Is<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

struct Scalar;

impl<'de> Visitor<'de> for Scalar {
    type Value = KeyPart;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a partition key: text, a number, a truth value or null")
    }

    fn visit_str<E>(self, text: &str) -> Result<KeyPart, E> {
        Ok(KeyPart::String(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<KeyPart, E> {
        Ok(KeyPart::Bool(value))
    }

    fn visit_f64<E>(self, number: f64) -> Result<KeyPart, E> {
        Ok(KeyPart::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<KeyPart, E> {
        Ok(KeyPart::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<KeyPart, E> {
        Ok(KeyPart::Number(number as f64))
    }

    fn visit_unit<E>(self) -> Result<KeyPart, E> {
        Ok(KeyPart::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<KeyPart, A::Error> {
        Err(A::Error::custom("a partition key cannot be an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<KeyPart, A::Error> {
        Err(A::Error::custom("a partition key cannot be an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(paths: &[&str], body: &str) -> Option<PartitionKey> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        KeyPaths::new(&paths).of(body.as_bytes()).ok()
    }

    #[test]
    fn keys_by_cases() {
        let part = |part| Some(PartitionKey::from_parts(vec![part]));
        assert_eq!(key(&["/k"], r#"{"a":{"k":1},"k":"x\n","z":[1]}"#), part(KeyPart::String("x\n".into())));
        assert_eq!(key(&["/k"], r#"{"k":1.5}"#), part(KeyPart::Number(1.5)));
        assert_eq!(key(&["/k"], r#"{"k":7}"#), part(KeyPart::Number(7.0)));
        assert_eq!(key(&["/k"], r#"{"k":-7}"#), part(KeyPart::Number(-7.0)));
        assert_eq!(key(&["/k"], r#"{"k":null}"#), part(KeyPart::Null));
        assert_eq!(key(&["/k"], r#"{"k":true}"#), part(KeyPart::Bool(true)));
        assert_eq!(key(&["/k"], r#"{"j":true}"#), part(KeyPart::Undefined));
        assert_eq!(key(&["/a/b"], r#"{"b":1,"a":{"b":"x"}}"#), part(KeyPart::String("x".into())));
        assert_eq!(key(&["/k"], r#"{"\u006b":"escaped name"}"#), part(KeyPart::String("escaped name".into())));
        let both = PartitionKey::from_parts(vec![KeyPart::String("1".into()), KeyPart::String("2".into())]);
        assert_eq!(key(&["/t", "/u"], r#"{"u":"2","t":"1"}"#), Some(both));
    }

    #[test]
    fn what_has_no_key_is_an_error() {
        for bad in [r#"{"k":[1]}"#, r#"{"k":{}}"#, r#"{"k":"#, r#"{"k":"a"} x"#, "[]", "1", "", "\u{0}"] {
            assert_eq!(key(&["/k"], bad), None, "{bad}");
        }
    }
}
