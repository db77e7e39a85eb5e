//! Resource ids as the service writes them: base 64 with `-` for `/`, four bytes for the database, four more for the
//! container with their highest bit set, eight more for the document.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";

pub(crate) fn database(id: u32) -> String {
    encode(&id.to_be_bytes())
}

pub(crate) fn container(database: u32, container: u32) -> String {
    encode(&container_bytes(database, container))
}

/// `number` must be unique in its container for ever, and below 2⁶⁰: the highest four bits say what kind of resource it is, and a
/// document is 0. Its low byte comes first, because clients read it so and order what ties by it.
pub(crate) fn document(database: u32, container: u32, number: u64) -> String {
    let mut bytes = container_bytes(database, container).to_vec();
    bytes.extend(number.to_le_bytes());
    encode(&bytes)
}

/// The number in a document's resource id; `None` where it is none. `/` stands for `-` where clients write base 64 as others do.
pub(crate) fn number(rid: &str) -> Option<u64> {
    let mut bytes = Vec::with_capacity(16);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in rid.trim_end_matches('=').bytes() {
        let wanted = if digit == b'/' { b'-' } else { digit };
        let value = DIGITS.iter().position(|&digit| digit == wanted)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xFF).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    let number = bytes.get(8..).and_then(|bytes| bytes.try_into().ok())?;
    Some(u64::from_le_bytes(number))
}

fn container_bytes(database: u32, container: u32) -> [u8; 8] {
    (u64::from(database) << 32 | u64::from(container | 1 << 31)).to_be_bytes()
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0, |bits, &byte| bits << 8 | usize::from(byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let known = digit <= chunk.len();
            text.push(if known { char::from(DIGITS[bits >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_base_64() {
        for (bytes, text) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(encode(bytes.as_bytes()), text);
        }
        assert_eq!(encode(&[0xFF; 3]), "----");
    }

    #[test]
    fn a_container_begins_with_its_database() {
        assert_eq!(database(1), "AAAAAQ==");
        assert!(container(1, 2).starts_with("AAAAA") && container(1, 2).len() == 12);
        assert_ne!(document(1, 2, 5), document(1, 3, 5));
    }

    #[test]
    fn a_documents_number_is_read_from_its_low_byte_up() {
        assert_eq!(document(1, 2, 5), encode(&[0, 0, 0, 1, 0x80, 0, 0, 2, 5, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(number(&document(1, 2, 0x0FED_CBA9_8765_4321)), Some(0x0FED_CBA9_8765_4321));
        assert_eq!(number(&document(1, 2, 0x0FFF_FFFF).replace('-', "/")), Some(0x0FFF_FFFF));
        assert_eq!((number(&container(1, 2)), number("?"), number("")), (None, None, None));
        assert_eq!(document(1, 2, 0x0102), encode(&[0, 0, 0, 1, 0x80, 0, 0, 2, 2, 1, 0, 0, 0, 0, 0, 0]));
    }
}
