use feedmill_store_api::Error;

use crate::error::invalid;

/// Where a page of a query ended. Names the last entry, not a number of entries, so it stays right across writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Continuation {
    /// Which order the key belongs to: a token of another query is found out by it.
    pub(crate) order: String,
    /// Results passed so far, for OFFSET and LIMIT.
    pub(crate) passed: u64,
    pub(crate) key: Vec<u8>,
}

impl Continuation {
    pub(crate) fn encode(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("{}:{}:", self.order, self.passed);
        for byte in &self.key {
            let written = write!(text, "{byte:02x}");
            debug_assert!(written.is_ok(), "writing to a string does not fail");
        }
        text
    }

    /// `order` is what the query reads in.
    pub(crate) fn decode(text: &str, order: &str) -> Result<Self, Error> {
        let mut parts = text.splitn(3, ':');
        let of_this_query = parts.next() == Some(order);
        let passed = parts.next().and_then(|passed| passed.parse().ok());
        match (of_this_query, passed, parts.next().and_then(decode_hex)) {
            (true, Some(passed), Some(key)) => Ok(Self { order: order.to_owned(), passed, key }),
            _ => Err(invalid(format!("continue a query at {text:?}: that is no continuation of this query"))),
        }
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?);
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use feedmill_store_api::ErrorKind;

    use super::*;

    #[test]
    fn a_token_names_its_order_and_is_refused_by_another_query() {
        let token = Continuation { order: "i0f".to_owned(), passed: 12, key: vec![0, 255, 7] };
        assert_eq!(Continuation::decode(&token.encode(), "i0f").unwrap(), token);
        for (text, order) in [("i0f:12:00ff07", "d"), ("", "d"), ("d:x:00", "d"), ("d:1:0", "d"), ("d:1:zz", "d")] {
            assert_eq!(Continuation::decode(text, order).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
    }
}
