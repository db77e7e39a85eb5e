use std::collections::BTreeMap;

use feedmill_documents::containers::{DEAD_LETTERS, LEASES};

/// How many writes of derived documents each life waits for, which only its settler sends.
#[derive(Default)]
pub(super) struct Writes {
    /// As many as its options allow, and as many as there are.
    lives: BTreeMap<String, (usize, usize)>,
}

impl Writes {
    pub(super) fn begins(&mut self, life: &str, at_once_max: usize) {
        self.lives.insert(life.to_owned(), (at_once_max, 0));
    }

    pub(super) fn sends(&mut self, life: &str, container: &str) -> Option<String> {
        let (at_once_max, there) = self.of(life, container)?;
        *there += 1;
        (*there > at_once_max)
            .then(|| format!("{life} waits for {there} writes at the same time, {at_once_max} at most"))
    }

    pub(super) fn waits_no_more(&mut self, life: &str, container: &str) {
        if let Some((_, there)) = self.of(life, container) {
            *there -= 1;
        }
    }

    fn of(&mut self, life: &str, container: &str) -> Option<(usize, &mut usize)> {
        let (at_once_max, there) = self.lives.get_mut(life).filter(|_| ![LEASES, DEAD_LETTERS].contains(&container))?;
        Some((*at_once_max, there))
    }
}
