use std::collections::BTreeSet;

use feedmill_store_api::Error;

use crate::container::Core;
use crate::database::LocalStore;
use crate::error::unavailable;
use crate::keys::{self, Pointer, Record};
use crate::storage::{Direction, Table, View};

/// Where what is stored contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage(pub String);

impl LocalStore {
    /// Reads everything in the databases that were opened and compares: each document has exactly its version, its index
    /// entries and its expiry, nothing is left over, no version is newer than the head.
    ///
    /// For tests and for doubts: it holds up all writers of a container while that is read, and its memory grows with it.
    pub fn check(&self) -> Result<Vec<Damage>, Error> {
        let mut damage = Vec::new();
        for core in self.cores() {
            check_container(&core, &mut damage)?;
        }
        Ok(damage)
    }
}

fn check_container(core: &Core, damage: &mut Vec<Damage>) -> Result<(), Error> {
    // Nobody splits, merges or commits meanwhile.
    let layout = core.layout.read();
    let writers: Vec<_> = layout.partitions.iter().map(|partition| partition.writer.lock()).collect();
    let view = core.shard.view();
    let mut expected = [Table::Versions, Table::Index, Table::Expiry].map(|table| (table, BTreeSet::new()));
    let mut say = |what: String| damage.push(Damage(format!("{}: {what}", core.name())));

    for (key, value) in entries(&*view, Table::Documents)? {
        let Some(pointer) = Pointer::decode(&value) else {
            say(format!("document {key:02x?} has no pointer"));
            continue;
        };
        let (effective_key, id) = key.split_at(core.schema.effective_key_bytes().min(key.len()));
        let bucket = core.buckets.of(effective_key);
        let version_key = keys::version(bucket, pointer.version);
        let stored = view.get(Table::Versions, &version_key).map_err(|failure| unavailable(&failure))?;
        let record = stored.as_deref().and_then(|bytes| Record::decode(bytes, core.schema.effective_key_bytes()));
        let Some(record) = record else {
            say(format!("document {:?} has no version {:?}", String::from_utf8_lossy(id), pointer.version));
            continue;
        };
        let body: Option<serde_json::Value> = serde_json::from_slice(record.body).ok();
        let same_id = body.as_ref().and_then(|body| body["id"].as_str()).is_some_and(|found| found.as_bytes() == id);
        let home = layout.partitions.iter().position(|partition| !partition.is_below(effective_key));
        let head_lsn = home.map_or(0, |at| writers[at].head.lsn);
        let same = record.created == pointer.created && record.expires_seconds == pointer.expires_seconds;
        if !same_id || !same || record.effective_key != effective_key || pointer.version.lsn() > head_lsn {
            say(format!("document {:?} and its version {:?} differ", String::from_utf8_lossy(id), pointer.version));
        }
        let [(_, versions), (_, index), (_, expiry)] = &mut expected;
        versions.insert(version_key);
        for (number, values) in (0..).zip(core.schema.stored_index_values(record.body)) {
            let mut entry = keys::index(effective_key, number, &values, pointer.created);
            entry.extend(pointer.version.0.to_be_bytes());
            index.insert(entry);
        }
        expiry.extend(pointer.expires_seconds.map(|at| keys::expiry(bucket, at, pointer.version)));
    }
    for (table, mut missing) in expected {
        for (mut key, value) in entries(&*view, table)? {
            if table == Table::Index {
                key.extend(value);
            }
            if !missing.remove(&key) {
                say(format!("{table:?} has {key:02x?}, which belongs to no document"));
            }
        }
        for key in missing {
            say(format!("{table:?} lacks {key:02x?}"));
        }
    }
    Ok(())
}

type Entry = (Vec<u8>, Vec<u8>);

fn entries(view: &dyn View, table: Table) -> Result<Vec<Entry>, Error> {
    let mut cursor = view.cursor(table, &[], &[u8::MAX; 8], Direction::Forward);
    let mut entries = Vec::new();
    while cursor.advance().map_err(|failure| unavailable(&failure))? {
        entries.push((cursor.key().to_vec(), cursor.value().to_vec()));
    }
    Ok(entries)
}
