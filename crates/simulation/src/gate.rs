use crate::signal::Signal;

const OPEN: u64 = 0;
const CLOSED: u64 = 1;

/// What a frozen host waits at: everything that comes in or goes out stops here, wherever the host was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Signal);

impl Gate {
    pub(crate) fn open() -> Self {
        Self::default()
    }

    pub(crate) fn set_open(&self, open: bool) {
        self.0.set(if open { OPEN } else { CLOSED });
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.value() == OPEN
    }

    pub(crate) async fn pass(&self) {
        self.0.wait_for(|state| state == OPEN).await;
    }
}
