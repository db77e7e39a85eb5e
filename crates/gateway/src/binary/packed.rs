//! Texts of few different characters, written in fewer bits.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::Malformed;

const LOWER_HEX: &[u8; 16] = b"0123456789abcdef";
const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";
const DATE_TIME: &[u8; 16] = b" 0123456789:-.TZ";

/// Each byte's low half comes first.
pub(super) fn guid(bytes: [u8; 16], upper: bool) -> String {
    let digits = if upper { UPPER_HEX } else { LOWER_HEX };
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.into_iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        text.push(char::from(digits[usize::from(byte & 0xF)]));
        text.push(char::from(digits[usize::from(byte >> 4)]));
    }
    text
}

/// Two characters a byte, low half first, from the sixteen that `marker` stands for.
pub(super) fn table(bytes: &[u8], count: usize, marker: u8, at: usize) -> Result<String, Malformed> {
    let table = match marker {
        0x78 => LOWER_HEX,
        0x79 => UPPER_HEX,
        _ => DATE_TIME,
    };
    let mut halves = bytes.iter().flat_map(|byte| [byte & 0xF, byte >> 4]);
    let text = halves.by_ref().take(count).map(|half| char::from(table[usize::from(half)])).collect();
    if halves.all(|half| half == 0) { Ok(text) } else { Err(Malformed::Text { at }) }
}

/// `count` characters of `bits` bits, lowest first, counted from `base`.
pub(super) fn packed(bytes: &[u8], count: usize, bits: usize, base: u8, at: usize) -> Result<String, Malformed> {
    let character = |index: usize| {
        let (byte, shift) = (index * bits / 8, index * bits % 8);
        let window = u16::from(bytes[byte]) | u16::from(bytes.get(byte + 1).copied().unwrap_or(0)) << 8;
        let value = (window >> shift) as u8 & ((1 << bits) - 1);
        let character = value.checked_add(base).filter(u8::is_ascii).ok_or(Malformed::Text { at })?;
        Ok(char::from(character))
    };
    (0..count).map(character).collect()
}

/// Base 64 text kept as the bytes it stands for. A padding above 2 is the complement of one that the text left out.
pub(super) fn base64_text<'a>(
    groups: usize,
    padding: u8,
    url_safe: bool,
    at: usize,
    bytes: impl FnOnce(usize) -> Result<&'a [u8], Malformed>,
) -> Result<String, Malformed> {
    let omitted = padding > 2;
    let missing = usize::from(if omitted { !padding } else { padding });
    let characters = (groups * 4).checked_sub(missing).filter(|_| missing <= 2).ok_or(Malformed::Text { at })?;
    let engine = if url_safe { URL_SAFE } else { STANDARD };
    let mut text = engine.encode(bytes(characters * 3 / 4)?);
    if omitted {
        text.truncate(characters);
    }
    Ok(text)
}
