use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::packed::{base64_text, guid, packed, table};
use super::strings::SYSTEM;
use super::{Malformed, PREAMBLE};

/// Containers inside containers; reading recurses, and a body comes from outside.
pub(super) const DEPTH_MAX: usize = 128;

/// References let few bytes stand for many. No item may be as long as this.
pub(super) const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Reads values and writes their JSON text.
pub(super) struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    text: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        debug_assert_eq!(body.first(), Some(&PREAMBLE), "whoever calls has looked");
        Self { body, at: 1, text: Vec::with_capacity(body.len() * 2) }
    }

    /// The text, once everything has been read.
    pub(super) fn end(self) -> Result<Vec<u8>, Malformed> {
        if self.at == self.body.len() { Ok(self.text) } else { Err(Malformed::Length { at: self.at }) }
    }

    pub(super) fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        if depth > DEPTH_MAX {
            return Err(Malformed::Depth);
        }
        let at = self.at;
        let marker = self.byte()?;
        match marker {
            0xD0 => self.write(b"null"),
            0xD1 => self.write(b"false"),
            0xD2 => self.write(b"true"),
            0x00..=0x1F => self.write(marker.to_string().as_bytes()),
            0xC7..=0xCE | 0xD7..=0xDC => self.number(marker),
            0xDD => self.blob(1),
            0xDE => self.blob(2),
            0xDF => self.blob(4),
            0xE0 => self.write(b"[]"),
            0xE8 => self.write(b"{}"),
            0xE1..=0xE7 => self.container(marker - 0xE1, b"[]", depth, at),
            0xE9..=0xEF => self.container(marker - 0xE9, b"{}", depth, at),
            0xF0 | 0xF1 => self.numbers(usize::from(marker - 0xEF)),
            0xF2 | 0xF3 => self.number_arrays(usize::from(marker - 0xF1)),
            _ => {
                let text = self.string(marker, at, true)?;
                self.write_string(&text)
            }
        }
    }

    /// `form`: one element; else what is said beside the bytes they take, and in how many bytes it is said.
    fn container(&mut self, form: u8, brackets: &[u8; 2], depth: usize, at: usize) -> Result<(), Malformed> {
        let is_object = brackets[0] == b'{';
        let (end, count) = match form {
            0 => (None, Some(1)),
            form => {
                let width = 1 << ((form - 1) % 3);
                let bytes = self.count(width)?;
                let count = if form > 3 { Some(self.count(width)?) } else { None };
                (Some(self.at.saturating_add(bytes)), count)
            }
        };
        self.write(&brackets[..1])?;
        let mut read = 0;
        while count.map_or(end.is_some_and(|end| self.at < end), |count| read < count) {
            if read > 0 {
                self.write(b",")?;
            }
            if is_object {
                let at = self.at;
                let marker = self.byte()?;
                let name = self.string(marker, at, true)?;
                self.write_string(&name)?;
                self.write(b":")?;
            }
            self.value(depth + 1)?;
            read += 1;
        }
        if end.is_some_and(|end| end != self.at) {
            return Err(Malformed::Length { at });
        }
        self.write(&brackets[1..])
    }

    fn number(&mut self, marker: u8) -> Result<(), Malformed> {
        let text = match marker {
            0xC7 => u64::from_le_bytes(self.array()?).to_string(),
            0xC8 | 0xD7 => self.byte()?.to_string(),
            0xD8 => i8::from_le_bytes(self.array()?).to_string(),
            0xC9 | 0xD9 => i16::from_le_bytes(self.array()?).to_string(),
            0xCA | 0xDA => i32::from_le_bytes(self.array()?).to_string(),
            0xCB | 0xDB => i64::from_le_bytes(self.array()?).to_string(),
            0xDC => u32::from_le_bytes(self.array()?).to_string(),
            0xCC | 0xCE => double(f64::from_le_bytes(self.array()?)),
            0xCD => double(f64::from(f32::from_le_bytes(self.array()?))),
            _ => return Err(Malformed::Marker { marker, at: self.at }),
        };
        self.write(text.as_bytes())
    }

    /// Numbers of one kind, which is said once.
    fn numbers(&mut self, width: usize) -> Result<(), Malformed> {
        let marker = self.byte()?;
        let count = self.count(width)?;
        self.numbers_of(marker, count)
    }

    fn numbers_of(&mut self, marker: u8, count: usize) -> Result<(), Malformed> {
        self.write(b"[")?;
        for index in 0..count {
            if index > 0 {
                self.write(b",")?;
            }
            self.number(marker)?;
        }
        self.write(b"]")
    }

    fn number_arrays(&mut self, width: usize) -> Result<(), Malformed> {
        let at = self.at;
        let inner = self.byte()?;
        if usize::from(inner) != 0xEF + width {
            return Err(Malformed::Marker { marker: inner, at });
        }
        let marker = self.byte()?;
        let (inner, outer) = (self.count(width)?, self.count(width)?);
        self.write(b"[")?;
        for index in 0..outer {
            if index > 0 {
                self.write(b",")?;
            }
            self.numbers_of(marker, inner)?;
        }
        self.write(b"]")
    }

    /// Bytes have no form in JSON; base 64 is what people expect.
    fn blob(&mut self, width: usize) -> Result<(), Malformed> {
        let count = self.count(width)?;
        let text = STANDARD.encode(self.bytes(count)?);
        self.write_string(&text)
    }

    fn string(&mut self, marker: u8, at: usize, references: bool) -> Result<String, Malformed> {
        let plain = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed::Text { at });
        Ok(match marker {
            0x20..=0x3F => SYSTEM[usize::from(marker - 0x20)].to_owned(),
            0x80..=0xBF => plain(self.bytes(usize::from(marker & 0x7F))?)?,
            0xC0..=0xC2 => {
                let count = self.count(1 << (marker - 0xC0))?;
                plain(self.bytes(count)?)?
            }
            0xC3..=0xC6 if references => {
                let target = self.count(usize::from(marker - 0xC2))?;
                self.referred(target, at)?
            }
            0x71..=0x74 => {
                let groups = self.count(if marker % 2 == 1 { 1 } else { 2 })?;
                let padding = self.byte()?;
                base64_text(groups, padding, marker >= 0x73, at, |count| self.bytes(count))?
            }
            0x75 => guid(self.array()?, false),
            0x76 => guid(self.array()?, true),
            0x77 => format!("\"{}\"", guid(self.array()?, false)),
            0xD3 => {
                let [a, b, c, d, e, f, g, h, rest @ ..] = self.array::<16>()?;
                let [i, j, k, l, m, n, o, p] = rest;
                // The first three groups are little-endian numbers; nibbles are swapped as `guid` wants them.
                let bytes = [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p].map(|byte: u8| byte.rotate_left(4));
                guid(bytes, false)
            }
            0x78..=0x7A => {
                let count = self.count(1)?;
                table(self.bytes(count.div_ceil(2))?, count, marker, at)?
            }
            0x7B..=0x7D => {
                let (count, base, bits) = (self.count(1)?, self.byte()?, usize::from(marker - 0x77));
                packed(self.bytes((count * bits).div_ceil(8))?, count, bits, base, at)?
            }
            0x7E | 0x7F => {
                let count = self.count(usize::from(marker - 0x7D))?;
                packed(self.bytes((count * 7).div_ceil(8))?, count, 7, 0, at)?
            }
            // Texts 0x40 to 0x67 are in a dictionary that no request carries.
            _ => return Err(Malformed::Marker { marker, at }),
        })
    }

    /// The text that stands earlier; never a reference itself, so this ends.
    fn referred(&mut self, target: usize, at: usize) -> Result<String, Malformed> {
        let back = std::mem::replace(&mut self.at, target);
        let text = match self.byte() {
            Ok(marker) if target > 0 && target < at => self.string(marker, target, false),
            _ => return Err(Malformed::Text { at }),
        };
        self.at = back;
        text.map_err(|_| Malformed::Text { at })
    }

    fn write_string(&mut self, text: &str) -> Result<(), Malformed> {
        let quoted = serde_json::to_vec(text).expect("a text is JSON");
        self.write(&quoted)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.text.len() + bytes.len() > TEXT_BYTES_MAX {
            return Err(Malformed::Expands);
        }
        self.text.extend(bytes);
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes = self.bytes(N)?;
        Ok(bytes.try_into().expect("as many bytes as were asked for"))
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let truncated = Malformed::Truncated { at: self.body.len().min(self.at) };
        let end = self.at.checked_add(count).ok_or_else(|| truncated.clone())?;
        let bytes = self.body.get(self.at..end).ok_or(truncated)?;
        self.at = end;
        Ok(bytes)
    }

    /// A little-endian number in so many bytes.
    fn count(&mut self, width: usize) -> Result<usize, Malformed> {
        Ok(self.bytes(width)?.iter().rev().fold(0, |count, &byte| count << 8 | usize::from(byte)))
    }
}

/// Whole numbers without a fraction, as the service writes them; what JSON cannot say is null, as in SDKs.
fn double(value: f64) -> String {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        return (value as i64).to_string();
    }
    serde_json::Number::from_f64(value).map_or("null".to_owned(), |number| number.to_string())
}
