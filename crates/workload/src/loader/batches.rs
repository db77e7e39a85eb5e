//! Pure: many writes become few requests.

use feedmill_store_api::limits::{BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX};
use feedmill_store_api::{DocumentId, PartitionKey};
use indexmap::IndexMap;

use crate::SourceWrite;

/// Writes of one partition key that travel together, each document once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) container: &'static str,
    pub(super) key: PartitionKey,
    /// Never empty.
    pub(super) writes: Vec<SourceWrite>,
}

/// Of each document only the newest version is left; then at most one batch at a time would be in the way of any other,
/// so they may all be sent at once. They stand in the order in which their keys first came.
pub(super) fn batches(writes: Vec<SourceWrite>) -> Vec<Batch> {
    let mut groups: IndexMap<(&'static str, PartitionKey), IndexMap<DocumentId, SourceWrite>> = IndexMap::new();
    for write in writes {
        let group = groups.entry((write.container, write.key.clone())).or_default();
        match group.get_mut(&write.id) {
            Some(old) if old.version > write.version => {}
            Some(old) => *old = write,
            None => {
                group.insert(write.id.clone(), write);
            }
        }
    }
    let mut batches = Vec::with_capacity(groups.len());
    for ((container, key), group) in groups {
        let mut bytes = 0;
        let mut writes: Vec<SourceWrite> = Vec::new();
        for write in group.into_values() {
            let full = writes.len() == BATCH_OPERATIONS_MAX || bytes + write.body.len() > BATCH_BYTES_MAX;
            if full && !writes.is_empty() {
                batches.push(Batch { container, key: key.clone(), writes: std::mem::take(&mut writes) });
                bytes = 0;
            }
            bytes += write.body.len();
            writes.push(write);
        }
        batches.push(Batch { container, key, writes });
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::super::tests::write;
    use super::*;

    fn sizes(writes: Vec<SourceWrite>) -> Vec<usize> {
        batches(writes).iter().map(|batch| batch.writes.len()).collect()
    }

    #[test]
    fn writes_of_one_key_travel_together_wherever_they_stood() {
        let batches = batches(vec![write("a", "a:1", 0), write("b", "b:1", 0), write("a", "a:2", 0)]);
        let keys: Vec<_> = batches.iter().map(|batch| (batch.key.as_str().unwrap(), batch.writes.len())).collect();
        assert_eq!(keys, [("a", 2), ("b", 1)]);
    }

    #[test]
    fn of_one_document_the_newest_version_is_left() {
        for versions in [[0, 1, 2], [2, 0, 1]] {
            let batches = batches(versions.map(|version| write("a", "a:1", version)).into());
            assert_eq!((batches.len(), batches[0].writes.len(), batches[0].writes[0].version), (1, 1, 2));
        }
    }

    #[test]
    fn a_batch_ends_before_it_has_too_many_operations_or_bytes() {
        let many = (0..250).map(|id| write("a", &format!("a:{id}"), 0)).collect();
        assert_eq!(sizes(many), [100, 100, 50]);
        let large = |id: &str| SourceWrite { body: vec![b'x'; 1_500_000].into(), ..write("a", id, 0) };
        assert_eq!(sizes(vec![large("1"), large("2"), write("a", "3", 0)]), [1, 2]);
    }
}
