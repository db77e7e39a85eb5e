use std::borrow::Cow;

/// What a document has at a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found<'a> {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    String(Cow<'a, str>),
    Array,
    Object,
}

/// Bytes of a string that take part in an index's order. Beyond, strings count as equal, as in the service.
const STRING_BYTES_MAX: usize = 1_024;

/// Appends bytes that sort as the service sorts values of all types; inverted for a descending path.
///
/// Strings end with 0 and have their own bytes 0 and 1 written as 1 1 and 1 2, so none is the beginning of another.
pub(crate) fn encode(found: &Found<'_>, descending: bool, encoded: &mut Vec<u8>) {
    let start = encoded.len();
    match found {
        Found::Undefined => encoded.push(0x00),
        Found::Null => encoded.push(0x01),
        Found::Bool(false) => encoded.push(0x02),
        Found::Bool(true) => encoded.push(0x03),
        Found::Number(number) => {
            // Adding zero makes one zero of the two.
            let bits = (number + 0.0).to_bits();
            let ordered = if bits >> 63 == 0 { bits | 1 << 63 } else { !bits };
            encoded.push(0x05);
            encoded.extend(ordered.to_be_bytes());
        }
        Found::String(text) => {
            encoded.push(0x08);
            let bytes = text.as_bytes();
            for &byte in &bytes[..bytes.len().min(STRING_BYTES_MAX)] {
                if byte <= 1 {
                    encoded.push(1);
                }
                encoded.push(if byte <= 1 { byte + 1 } else { byte });
            }
            encoded.push(0);
        }
        Found::Array => encoded.push(0x0A),
        Found::Object => encoded.push(0x0B),
    }
    if descending {
        for byte in &mut encoded[start..] {
            *byte = !*byte;
        }
    }
}

impl From<&serde_json::Value> for Found<'static> {
    fn from(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(value) => Self::Number(value.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(value) => Self::String(Cow::Owned(value.clone())),
            serde_json::Value::Array(_) => Self::Array,
            serde_json::Value::Object(_) => Self::Object,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(found: &Found<'_>, descending: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(found, descending, &mut bytes);
        bytes
    }

    #[test]
    fn values_of_all_types_sort_as_in_the_service_both_ways() {
        let text = |text: &str| Found::String(Cow::Owned(text.to_owned()));
        let ascending = [
            Found::Undefined,
            Found::Null,
            Found::Bool(false),
            Found::Bool(true),
            Found::Number(f64::MIN),
            Found::Number(-1.5),
            Found::Number(0.0),
            Found::Number(f64::MIN_POSITIVE),
            Found::Number(1e300),
            text(""),
            text("\0"),
            text("\0\0"),
            text("\u{1}"),
            text("a"),
            text("a\0"),
            text("ab"),
            text("é"),
            Found::Array,
            Found::Object,
        ];
        for pair in ascending.windows(2) {
            assert!(encoded(&pair[0], false) < encoded(&pair[1], false), "{pair:?}");
            assert!(encoded(&pair[0], true) > encoded(&pair[1], true), "{pair:?} descending");
        }
        assert_eq!(encoded(&Found::Number(-0.0), false), encoded(&Found::Number(0.0), false));
    }
}
