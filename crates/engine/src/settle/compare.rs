//! What settling would change, without changing it.

use std::collections::{BTreeMap, BTreeSet};

use feedmill_store_api::{Document, ReadLevel};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value};

use super::decide;
use super::desired::{Basis, Desired, Expiry, SourceRef};
use super::envelope::Stored;
use super::projection::{Address, Projection};
use super::settler::{KEYS_AT_ONCE, SettleError, Settler, TARGETS_MAX};

/// A stored target that is not what its sources make of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub address: Address,
    pub kind: DifferenceKind,
    pub cause: LikelyCause,
    /// The sources it should be made from and those it was made from.
    pub sources: Vec<SourceRef>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// It should be there and is not.
    Missing,
    /// It is there and should not be.
    Extra,
    /// These fields are not as they should be.
    Fields(Vec<String>),
}

/// Why a target is likely to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LikelyCause {
    /// Nobody has settled it, or what settled it has expired.
    NeverSettled,
    /// It was made from other versions of its sources: a change was not applied, or is not yet.
    OtherSources,
    /// Another revision of the processor made it from the same sources.
    OtherRevision,
    /// It was made from these very sources: somebody else has written it since.
    WrittenByOthers,
}

impl LikelyCause {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverSettled => "never settled",
            Self::OtherSources => "made from other versions of its sources",
            Self::OtherRevision => "made by another revision",
            Self::WrittenByOthers => "written by somebody else",
        }
    }
}

/// What is done with targets that somebody names by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Says what is wrong and writes nothing.
    Compare,
    /// Settles them as a change would.
    Settle,
    /// Says what is wrong and writes that anew, on an [`operator`](crate::Writer::operator) that repairs.
    Repair,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// Targets looked at; some may have been named twice.
    pub targets: u64,
    pub differences: BTreeMap<Address, Difference>,
}

impl Settler<'_> {
    /// Compares, settles or repairs these targets.
    pub async fn act<P: Projection>(
        &self,
        act: Act,
        projection: &P,
        mut targets: Vec<P::Target>,
        judged: &mut Judged,
    ) -> Result<(), SettleError> {
        judged.targets += targets.len() as u64;
        if act != Act::Settle {
            let differences = self.compare(projection, &targets).await?;
            let named = differences.into_iter().map(|difference| (difference.address.clone(), difference));
            let named: BTreeMap<_, _> = named.collect();
            targets.retain(|target| act == Act::Repair && named.contains_key(&projection.address(target)));
            judged.differences.extend(named);
        }
        if targets.is_empty() { Ok(()) } else { self.settle(projection, targets, None).await }
    }

    /// The targets that are not as they should be. Writes nothing; a count is compared by its value, everything else by
    /// its fields. What is in flight is among them: only who knows how far the processors are can tell it apart.
    pub async fn compare<P: Projection>(
        &self,
        projection: &P,
        targets: &[P::Target],
    ) -> Result<Vec<Difference>, SettleError> {
        let opened = self.reader().writer.open(projection.container()).await?;
        let (key_field, now) = (opened.key_field()?, self.reader().writer.clock().now());
        let mut differences = Vec::new();
        for targets in targets.chunks(TARGETS_MAX) {
            let mut keys: BTreeMap<_, BTreeMap<_, usize>> = BTreeMap::new();
            for (index, target) in targets.iter().enumerate() {
                let Address { key, id } = projection.address(target);
                keys.entry(key).or_default().insert(id, index);
            }
            let groups: Vec<_> = stream::iter(keys)
                .map(|(key, ids)| {
                    let opened = &opened;
                    async move {
                        let (ids, indexes): (Vec<_>, Vec<_>) = ids.into_iter().unzip();
                        let found = self.reader().read_many_at(opened, &key, &ids, &ReadLevel::Quorum).await?;
                        let named = ids.into_iter().map(move |id| Address { key: key.clone(), id });
                        Ok::<_, SettleError>(named.zip(indexes.into_iter().zip(found)))
                    }
                })
                .buffered(KEYS_AT_ONCE)
                .try_collect()
                .await?;
            // Sources after targets, as in settling: what a target names was there before it.
            let sources = projection.read(targets, self.reader()).await?;
            for (address, (index, current)) in groups.into_iter().flatten() {
                let desired =
                    projection.compute(&targets[index], &sources, current.as_ref()).map_err(SettleError::Invalid)?;
                differences.extend(difference(address, &desired, current.as_ref(), key_field, now)?);
            }
        }
        Ok(differences)
    }
}

fn difference(
    address: Address,
    desired: &Desired,
    current: Option<&Document>,
    key_field: &str,
    now: jiff::Timestamp,
) -> Result<Option<Difference>, SettleError> {
    let there = match current {
        Some(current) => {
            Some(current.parse::<Map<String, Value>>()?).filter(|fields| !fields.contains_key("deletedAt"))
        }
        None => None,
    };
    let (kind, basis) = match (desired, there) {
        (Desired::Leave, _) | (Desired::Absent { .. }, None) => return Ok(None),
        (Desired::Document { expires: Expiry::At(at), .. }, None) if *at <= now => return Ok(None),
        (Desired::Absent { basis, .. }, Some(_)) => (DifferenceKind::Extra, basis),
        (Desired::Document { basis, .. }, None) => (DifferenceKind::Missing, basis),
        (Desired::Document { fields, basis, .. }, Some(there)) => {
            let wanted: Map<String, Value> = serde_json::from_str(&format!("{{{}}}", fields.as_str()))
                .map_err(|error| SettleError::Invalid(format!("read what {} should be: {error}", address.id)))?;
            let mut fields = differing(&wanted, &there, key_field);
            if matches!(desired, Desired::Document { expires: Expiry::At(_), .. }) && !there.contains_key("ttl") {
                // It would stay for ever.
                fields.push("ttl".to_owned());
            }
            if fields.is_empty() {
                return Ok(None);
            }
            (DifferenceKind::Fields(fields), basis)
        }
    };
    let lineage = current.map(Document::parse::<Stored>).transpose()?.and_then(|stored| stored.source);
    let cause = match (current, basis, &lineage) {
        (None, ..) => LikelyCause::NeverSettled,
        (Some(current), basis, _)
            if decide::is_settled(desired, current)? && matches!(basis, Basis::Sources { .. }) =>
        {
            LikelyCause::WrittenByOthers
        }
        (_, Basis::Sources { rev, sources }, Some(lineage)) if lineage.from == *sources && lineage.rev != *rev => {
            LikelyCause::OtherRevision
        }
        (_, Basis::Sources { .. }, None) => LikelyCause::WrittenByOthers,
        _ => LikelyCause::OtherSources,
    };
    let mut sources = match basis {
        Basis::Sources { sources, .. } => sources.clone(),
        Basis::Count { .. } => Vec::new(),
    };
    sources.extend(lineage.into_iter().flat_map(|lineage| lineage.from));
    Ok(Some(Difference { address, kind, cause, sources }))
}

/// Names of the fields that are not equal, without those that the engine or the store writes.
fn differing(wanted: &Map<String, Value>, there: &Map<String, Value>, key_field: &str) -> Vec<String> {
    let is_ours =
        |name: &str| name == "id" || name == key_field || name == "ttl" || name == "asOf" || name.starts_with('_');
    let names: BTreeSet<&String> = wanted.keys().chain(there.keys()).filter(|name| !is_ours(name)).collect();
    names.into_iter().filter(|&name| wanted.get(name) != there.get(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use feedmill_store_api::{DocumentId, ETag, PartitionKey};
    use jiff::Timestamp;
    use serde_json::json;

    use super::super::desired::Fields;
    use super::*;

    fn basis(etag: &str) -> Basis {
        Basis::Sources { rev: 1, sources: vec![SourceRef("posts".into(), "1".into(), Some(ETag::new(etag)))] }
    }

    fn check(desired: &Desired, current: Option<Value>) -> Option<(DifferenceKind, LikelyCause)> {
        let address = Address { key: PartitionKey::from("k"), id: DocumentId::new("k:1").unwrap() };
        let current = current.map(|body| Document { etag: ETag::new("t"), body: Bytes::from(body.to_string()) });
        let found = difference(address, desired, current.as_ref(), "k", Timestamp::UNIX_EPOCH).unwrap();
        found.map(|difference| (difference.kind, difference.cause))
    }

    #[test]
    fn a_difference_says_what_is_wrong_and_why_that_is_likely() {
        let fields = Fields::of(&json!({"text": "x"})).unwrap();
        let there = Desired::Document { fields, expires: Expiry::ContainerDefault, basis: basis("a") };
        let absent = Desired::Absent { deleted_at: Timestamp::UNIX_EPOCH, basis: basis("a") };
        let stored = |text: &str, etag: &str, rev: u32| json!({"id": "k:1", "k": "k", "text": text, "_etag": "t", "_source": {"rev": rev, "from": [["posts", "1", etag]]}});
        let tombstone = json!({"id": "k:1", "k": "k", "deletedAt": "2020-01-01T00:00:00.000Z",
            "_source": {"rev": 1, "from": [["posts", "1", "z"]]}});
        let text = || DifferenceKind::Fields(vec!["text".to_owned()]);
        assert_eq!(check(&there, Some(stored("x", "z", 1))), None, "the same content is no difference");
        assert_eq!(check(&absent, Some(tombstone.clone())), None);
        assert_eq!(check(&absent, None), None);
        assert_eq!(check(&there, None), Some((DifferenceKind::Missing, LikelyCause::NeverSettled)));
        assert_eq!(check(&there, Some(tombstone)), Some((DifferenceKind::Missing, LikelyCause::OtherSources)));
        assert_eq!(check(&absent, Some(stored("x", "z", 1))), Some((DifferenceKind::Extra, LikelyCause::OtherSources)));
        assert_eq!(check(&there, Some(stored("y", "a", 1))), Some((text(), LikelyCause::WrittenByOthers)));
        assert_eq!(check(&there, Some(stored("y", "a", 0))), Some((text(), LikelyCause::OtherRevision)));
        assert_eq!(check(&there, Some(json!({"id": "k:1"}))), Some((text(), LikelyCause::WrittenByOthers)));
        let over = Desired::Document {
            fields: Fields::of(&json!({})).unwrap(),
            expires: Expiry::At(Timestamp::UNIX_EPOCH),
            basis: basis("a"),
        };
        assert_eq!(check(&over, None), None, "what is over is not missing");
    }
}
