//! Owns task handles; a panic becomes an error with a name.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::task::{Id, JoinSet};

/// Named tasks. Dropping it ends all of them.
#[derive(Debug)]
pub(crate) struct Supervisor<T = ()> {
    tasks: JoinSet<T>,
    names: BTreeMap<String, Id>,
}

impl<T: 'static> Default for Supervisor<T> {
    fn default() -> Self {
        Self { tasks: JoinSet::new(), names: BTreeMap::new() }
    }
}

/// What somebody else's code did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {0}")]
pub(crate) struct Panicked(pub(crate) String);

impl<T: Send + 'static> Supervisor<T> {
    pub(crate) fn spawn(&mut self, name: String, work: impl Future<Output = T> + Send + 'static) {
        let handle = self.tasks.spawn(work);
        self.names.insert(name, handle.id());
    }

    /// The next task that ended: its name, and whether it panicked. `None` when there are none left. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<(String, Result<T, Panicked>)> {
        let ended = self.tasks.join_next_with_id().await?;
        let (id, result) = match ended {
            Ok((id, done)) => (id, Ok(done)),
            Err(error) => {
                let id = error.id();
                let message = error.try_into_panic().map_or_else(|error| error.to_string(), |panic| message(&*panic));
                (id, Err(Panicked(message)))
            }
        };
        let name = self.names.iter().find(|(_, named)| **named == id).map(|(name, _)| name.clone()).unwrap_or_default();
        self.names.remove(&name);
        Some((name, result))
    }
}

/// Runs `work` so that its panic is an error. What it shared with others must be sound after a panic: handlers share
/// only what locks and channels protect.
pub(crate) async fn catch<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| Panicked(message(&*panic)))
}

pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_carries_the_tasks_name_and_its_message() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("broken".to_owned(), async { panic!("it is {}", "broken") });
        supervisor.spawn("fine".to_owned(), async {});
        let mut ended = [supervisor.next().await.unwrap(), supervisor.next().await.unwrap()];
        ended.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(ended[0], ("broken".to_owned(), Err(Panicked("it is broken".to_owned()))));
        assert_eq!(ended[1], ("fine".to_owned(), Ok(())));
        assert!(supervisor.next().await.is_none());
    }

    #[tokio::test]
    async fn a_caught_panic_is_an_error() {
        assert_eq!(catch(async { 1 }).await, Ok(1));
        assert_eq!(catch(async { panic!("no") }).await.map(|()| 1), Err(Panicked("no".to_owned())));
    }
}
