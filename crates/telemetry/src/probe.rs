use std::sync::Arc;

use parking_lot::RwLock;

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What a probe asks, and the answer until somebody has a better one. Clones are one.
#[derive(Clone)]
pub struct Probe(Arc<RwLock<Check>>);

impl Probe {
    /// Says yes until told otherwise.
    pub fn yes() -> Self {
        Self(Arc::new(RwLock::new(Box::new(|| Ok(())))))
    }

    /// Says no, for this reason, until told otherwise.
    pub fn no(reason: &'static str) -> Self {
        Self(Arc::new(RwLock::new(Box::new(move || Err(reason.to_owned())))))
    }

    /// From now on `check` answers. It must not wait for anything.
    pub fn answer(&self, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        *self.0.write() = Box::new(check);
    }

    /// Why not, where it is no.
    pub fn ask(&self) -> Result<(), String> {
        (self.0.read())()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_counts_for_all_clones() {
        let probe = Probe::no("starting");
        let same = probe.clone();
        assert_eq!(same.ask(), Err("starting".to_owned()));
        same.answer(|| Ok(()));
        assert_eq!(probe.ask(), Ok(()));
        assert_eq!(Probe::yes().ask(), Ok(()));
    }
}
