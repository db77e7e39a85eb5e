use std::borrow::Borrow;
use std::cmp::Ordering;

/// The first key that a leaf may hold, with what most comparisons need at hand: following a pointer for each would cost more
/// than all else that a look-up does.
#[derive(Clone, Debug)]
pub(super) struct Fence {
    head: u128,
    pub(super) bytes: Box<[u8]>,
}

impl Fence {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self { head: head(bytes), bytes: bytes.into() }
    }
}

/// The first sixteen bytes as a number that compares like them.
fn head(bytes: &[u8]) -> u128 {
    let mut head = [0; 16];
    let known = bytes.len().min(16);
    head[..known].copy_from_slice(&bytes[..known]);
    u128::from_be_bytes(head)
}

/// What fences and the keys looked for among them have in common.
pub(super) trait Place {
    fn head(&self) -> u128;
    fn bytes(&self) -> &[u8];
}

impl Place for Fence {
    fn head(&self) -> u128 {
        self.head
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

pub(super) struct Probe<'a>(u128, &'a [u8]);

impl<'a> Probe<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(head(bytes), bytes)
    }
}

impl Place for Probe<'_> {
    fn head(&self) -> u128 {
        self.0
    }

    fn bytes(&self) -> &[u8] {
        self.1
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.head().cmp(&other.head()).then_with(|| self.bytes().cmp(other.bytes()))
    }
}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for dyn Place + '_ {}

impl Ord for Fence {
    fn cmp(&self, other: &Self) -> Ordering {
        (self as &dyn Place).cmp(other as &dyn Place)
    }
}

impl PartialOrd for Fence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Fence {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Fence {}

impl<'a> Borrow<dyn Place + 'a> for Fence {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}
