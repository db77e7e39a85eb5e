use feedmill_store_api::Error;

use crate::error::invalid;

/// Where a page of a query ended. Names the last entry, not a number of entries, so it stays right across writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Continuation {
    /// Which order the key belongs to: a token of another query is found out by it.
    pub(crate) order: String,
    /// Results passed so far, for OFFSET and LIMIT.
    pub(crate) passed: u64,
    /// How many results of the entry after the last have been given: one document may have several.
    pub(crate) within: u64,
    /// Of the last entry of which all was given; empty before the first.
    pub(crate) key: Vec<u8>,
}

impl Continuation {
    pub(crate) fn encode(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("{}:{}:{}:", self.order, self.passed, self.within);
        for byte in &self.key {
            let written = write!(text, "{byte:02x}");
            debug_assert!(written.is_ok(), "writing to a string does not fail");
        }
        text
    }

    /// `order` is what the query reads in.
    pub(crate) fn decode(text: &str, order: &str) -> Result<Self, Error> {
        let mut parts = text.splitn(4, ':');
        let of_this_query = parts.next() == Some(order);
        let mut count = || parts.next().and_then(|count| count.parse().ok());
        match (of_this_query, count(), count(), parts.next().and_then(decode_hex)) {
            (true, Some(passed), Some(within), Some(key)) => Ok(Self { order: order.to_owned(), passed, within, key }),
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
    fn what_is_taken_for_a_token_is_one() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let Some((order, text)) = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once('\n')) else {
                return;
            };
            let Ok(token) = Continuation::decode(text, order) else { return };
            assert_eq!(Continuation::decode(&token.encode(), order).unwrap(), token);
        });
    }

    #[test]
    fn a_token_names_its_order_and_is_refused_by_another_query() {
        let token = Continuation { order: "i0f".to_owned(), passed: 12, within: 3, key: vec![0, 255, 7] };
        assert_eq!(Continuation::decode(&token.encode(), "i0f").unwrap(), token);
        let others = ["i0f:12:3:00ff07", "", "d:x:0:00", "d:1:x:00", "d:1:00", "d:1:0:0", "d:1:0:zz"];
        for (text, order) in others.map(|text| (text, "d")) {
            assert_eq!(Continuation::decode(text, order).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
    }
}
