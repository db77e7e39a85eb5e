//! Resource ids as the service writes them: base 64 with `-` for `/`, four bytes for the database, four more for the
//! container with their highest bit set, eight more for the document.

pub(crate) fn database(id: u32) -> String {
    encode(&id.to_be_bytes())
}

pub(crate) fn container(database: u32, container: u32) -> String {
    encode(&container_bytes(database, container))
}

/// `number` must be unique in its container for ever.
pub(crate) fn document(database: u32, container: u32, number: u64) -> String {
    let mut bytes = container_bytes(database, container).to_vec();
    bytes.extend(number.to_be_bytes());
    encode(&bytes)
}

fn container_bytes(database: u32, container: u32) -> [u8; 8] {
    (u64::from(database) << 32 | u64::from(container | 1 << 31)).to_be_bytes()
}

fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
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
}
