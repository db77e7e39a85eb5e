//! Times as text: ISO 8601, UTC, always three digits of milliseconds, so that the order of the texts is that of the times.

use jiff::Timestamp;

/// Such as `2010-12-28T12:34:56.000Z`. What is finer than a millisecond is cut off.
pub fn text(time: Timestamp) -> String {
    // Floored, not truncated towards 1970: jiff's own rounding would put two times of before 1970 out of order.
    let floored =
        Timestamp::from_millisecond(time.as_nanosecond().div_euclid(1_000_000).try_into().unwrap_or(i64::MIN));
    format!("{:.3}", floored.unwrap_or(time))
}

/// Any RFC 3339 time of the years 0 to 9999; `None` for anything else.
pub fn parse(text: &str) -> Option<Timestamp> {
    // jiff also reads years with a sign, which as text would not stand in the order of time.
    if !text.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let time: Timestamp = text.parse().ok()?;
    (self::text(time).len() == "2010-12-28T12:34:56.000Z".len()).then_some(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn any_rfc_3339_time_is_normalised() {
        for (read, written) in [
            ("2010-12-28T12:34:56.000Z", "2010-12-28T12:34:56.000Z"),
            ("2010-12-28T12:34:56Z", "2010-12-28T12:34:56.000Z"),
            ("2010-12-28T13:34:56.7+01:00", "2010-12-28T12:34:56.700Z"),
            ("2010-12-28 12:34:56.7891234z", "2010-12-28T12:34:56.789Z"),
            ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(text(parse(read).unwrap()), written, "{read}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in ["", "yesterday", "2010-12-28", "2010-12-28T12:34:56", "1293539696", "-000001-12-28T12:34:56Z"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_texts_is_the_order_of_times(a in -62_000_000_000_000_i64..253_000_000_000_000, b in -62_000_000_000_000_i64..253_000_000_000_000) {
            let [a, b] = [a, b].map(|ms| Timestamp::from_millisecond(ms).unwrap());
            prop_assert_eq!(a.cmp(&b), text(a).cmp(&text(b)));
            prop_assert_eq!(parse(&text(a)), Some(a));
        }
    }
}
