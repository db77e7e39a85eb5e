use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The key every Cosmos emulator has: published, so it keeps nobody out.
const EMULATOR_KEY: &str = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

/// An account's key, as it signs.
#[derive(Clone)]
pub struct Key(pub(crate) Vec<u8>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account's key is base 64 text")]
pub struct InvalidKey;

impl Key {
    /// From the text that connection strings have.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        STANDARD.decode(text.trim()).map(Self).map_err(|_| InvalidKey)
    }
}

impl Default for Key {
    /// The published key of the emulators, which SDKs and their tests know.
    fn default() -> Self {
        Self::parse(EMULATOR_KEY).expect("the published key is base 64")
    }
}

/// Never shows itself: it would end in a log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// How a gateway works. Every bound says what it is a bound of.
#[derive(Clone, Debug)]
pub struct Options {
    pub key: Key,
    /// Connections at once; further ones wait to be accepted.
    pub connections_max: usize,
    /// Requests of one HTTP/2 connection at once. Clients open further connections beyond that.
    pub streams_max: u32,
    /// Bytes of a request's body. Two megabytes are an item's or a batch's limit; the rest is what JSON adds around them.
    pub body_bytes_max: usize,
    /// For a request's head and for its body to arrive.
    pub read_timeout: Duration,
    /// For a reply to be taken. A connection whose reply lies longer is closed, and its memory with it.
    pub write_timeout: Duration,
    /// Bytes of replies that wait to be taken, over all connections; beyond, requests are told to come back.
    pub replies_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            key: Key::default(),
            connections_max: 1_024,
            streams_max: 64,
            body_bytes_max: 4 * 1024 * 1024,
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            replies_bytes_max: 256 * 1024 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_base_64_and_does_not_show_itself() {
        assert!(Key::parse("not base 64!").is_err());
        assert_eq!(format!("{:?}", Options::default().key), "Key(…)");
    }
}
