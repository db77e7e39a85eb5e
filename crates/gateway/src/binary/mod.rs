//! The binary JSON that Rust and .NET clients send for items by default. Read only: every client takes text for an answer.
//!
//! A value begins with a byte that says what it is; the table is in `read.rs`, from the .NET SDK's `JsonBinaryEncoding.TypeMarker`.

mod packed;
mod read;
mod strings;

/// First byte of every such body. No JSON text begins with it.
const PREAMBLE: u8 = 0x80;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it ends too early, at byte {at}")]
    Truncated { at: usize },
    #[error("byte {at} is 0x{marker:02x}, which begins no value")]
    Marker { marker: u8, at: usize },
    #[error("the text at byte {at} is not what its kind allows")]
    Text { at: usize },
    #[error("the value at byte {at} has another length than it says")]
    Length { at: usize },
    #[error("it stands for more than {} bytes of JSON", read::TEXT_BYTES_MAX)]
    Expands,
    #[error("values are nested deeper than {}", read::DEPTH_MAX)]
    Depth,
}

pub(crate) fn is_binary(body: &[u8]) -> bool {
    body.first() == Some(&PREAMBLE)
}

/// The JSON text of a body that [`is_binary`], properties in their order.
pub(crate) fn to_text(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut reader = read::Reader::new(body);
    reader.value(0)?;
    reader.end()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn decode(body: &[u8]) -> Result<Value, Malformed> {
        to_text(body).map(|text| serde_json::from_slice(&text).unwrap())
    }

    fn bytes(body: &[u8]) -> Result<Value, Malformed> {
        decode(&[&[PREAMBLE], body].concat())
    }

    #[test]
    fn what_the_rust_client_sends_is_read() {
        let captured = [
            0x80, 0xed, 0x13, 0x03, 0x82, 0x69, 0x64, 0x86, 0x69, 0x74, 0x65, 0x6d, 0x2d, 0x31, 0x82, 0x70, 0x6b, 0x82,
            0x70, 0x31, 0x81, 0x76, 0x01,
        ];
        assert_eq!(decode(&captured).unwrap(), json!({"id": "item-1", "pk": "p1", "v": 1}));
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let cases: [(&[u8], Value); 31] = [
            (&[0xD0], json!(null)),
            (&[0xD1], json!(false)),
            (&[0x1F], json!(31)),
            (&[0xC8, 200], json!(200)),
            (&[0xC9, 0xFE, 0xFF], json!(-2)),
            (&[0xCA, 1, 0, 0, 0], json!(1)),
            (&[0xCB, 0, 0, 0, 0, 0, 0, 0, 0x80], json!(i64::MIN)),
            (&[0xC7, 255, 255, 255, 255, 255, 255, 255, 255], json!(u64::MAX)),
            (&[0xCC, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F], json!(1.5)),
            (&[0xD8, 0xFF], json!(-1)),
            (&[0x2C], json!("id")),
            (&[0xC0, 2, b'h', b'i'], json!("hi")),
            (&[0xC1, 2, 0, b'h', b'i'], json!("hi")),
            (&[0xC2, 2, 0, 0, 0, b'h', b'i'], json!("hi")),
            (&[0xE0], json!([])),
            (&[0xE1, 1], json!([1])),
            (&[0xE2, 2, 1, 2], json!([1, 2])),
            (&[0xE5, 2, 2, 1, 2], json!([1, 2])),
            (&[0xE8], json!({})),
            (&[0xE9, 0x2C, 1], json!({"id": 1})),
            (&[0xEA, 2, 0x2C, 1], json!({"id": 1})),
            (&[0xF0, 0xD7, 2, 7, 8], json!([7, 8])),
            // The second text is the one at byte 2.
            (&[0xE2, 5, 0x82, b'h', b'i', 0xC3, 3], json!(["hi", "hi"])),
            (&[0xDD, 2, 1, 2], json!("AQI=")),
            (&[0x71, 1, 1, 1, 2], json!("AQI=")),
            (&[0x71, 1, 0xFE, 1, 2], json!("AQI")),
            (&[0x78, 3, 0x21, 0x0A], json!("12a")),
            (&[0x7A, 2, 0xE3], json!("2T")),
            (&[0x7B, 2, b'a', 0x10], json!("ab")),
            (&[0x7E, 2, 0xE1, 0x31], json!("ac")),
            (&[0xF2, 0xF0, 0xD7, 1, 2, 7, 8], json!([[7], [8]])),
        ];
        for (body, value) in cases {
            assert_eq!(bytes(body), Ok(value), "{body:02x?}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused_where_it_stands() {
        assert_eq!(bytes(&[]), Err(Malformed::Truncated { at: 1 }));
        assert_eq!(bytes(&[0xC0, 5, b'a']), Err(Malformed::Truncated { at: 3 }));
        assert_eq!(bytes(&[0xFF]), Err(Malformed::Marker { marker: 0xFF, at: 1 }));
        assert_eq!(bytes(&[0x81, 0xFF]), Err(Malformed::Text { at: 1 }));
        assert_eq!(bytes(&[1, 1]), Err(Malformed::Length { at: 2 }));
        assert_eq!(bytes(&[0xE5, 2, 3, 1, 2]), Err(Malformed::Truncated { at: 6 }));
        assert_eq!(bytes(&[0xE2, 1, 0x81, b'a']), Err(Malformed::Length { at: 1 }));
        assert_eq!(bytes(&[0xE1; 1_000]), Err(Malformed::Depth));
        assert_eq!(bytes(&[0xC3, 1]), Err(Malformed::Text { at: 1 }), "a reference to itself");
    }

    #[test]
    fn identifiers_are_written_out() {
        let digits: Vec<u8> = (0..16).map(|byte| byte << 4 | byte).collect();
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        assert_eq!(bytes(&[&[0x75], &digits[..]].concat()), Ok(json!(text)));
        assert_eq!(bytes(&[&[0x76], &digits[..]].concat()), Ok(json!(text.to_uppercase())));
        assert_eq!(bytes(&[&[0x77], &digits[..]].concat()), Ok(json!(format!("\"{text}\""))));
        assert_eq!(bytes(&[&[0xD3], &digits[..]].concat()), Ok(json!("33221100-5544-7766-8899-aabbccddeeff")));
    }

    #[test]
    fn a_few_bytes_do_not_stand_for_many_megabytes() {
        let text = [&[0xC1, 0xFF, 0xFF][..], &[b'x'; 0xFFFF]].concat();
        let references = [0xC3, 6].repeat(10_000);
        let length = u32::try_from(text.len() + references.len()).unwrap().to_le_bytes();
        let body = [&[0xE4][..], &length, &text, &references].concat();
        assert_eq!(bytes(&body), Err(Malformed::Expands));
        let arrays = [0xF3, 0xF1, 0xD7, 0, 0, 0xFF, 0xFF];
        assert!(bytes(&arrays).is_ok());
        assert_eq!(
            bytes(&[&[0xE4, 0, 0, 0xD0, 0][..], &arrays.repeat(0xD0_0000 / 7)].concat()),
            Err(Malformed::Expands)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _read = bytes(&body);
        }
    }
}
