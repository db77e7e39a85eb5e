//! Takes documents out by hand, whatever their sources say.

use feedmill_store_api::{Document, PageRequest, Query, QueryPage, Scope};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::Deserialize;

use super::desired::{Basis, Desired, Lineage};
use super::envelope::AsOf;
use super::projection::{Address, Projection};
use super::reader::Reader;
use super::settler::{SettleError, Settler};

/// For an operator who wants documents gone that their sources would still allow.
///
/// A document becomes a tombstone that names the sources it was made from, on the condition that it is still the one that
/// was read. So whoever settles it again from these sources finds it settled; a newer version of one of them is a change,
/// and makes it again. A write that is still in the air meets the tombstone like any other.
pub struct Eraser<'a>(Settler<'a>);

impl<'a> Eraser<'a> {
    pub(super) fn new(settler: Settler<'a>) -> Self {
        Self(settler)
    }

    /// A page of what a query finds, within one key or everywhere, as of a quorum.
    pub async fn find(
        &self,
        container: &str,
        scope: &Scope,
        query: &Query,
        request: &PageRequest,
    ) -> Result<QueryPage, SettleError> {
        self.0.reader().query_in(container, scope, query, request).await
    }

    /// Puts tombstones in the place of those that are there. What is a tombstone already, and where nothing is, is left
    /// alone.
    pub async fn erase(&self, container: &str, addresses: Vec<Address>) -> Result<(), SettleError> {
        self.0.settle(&Erased(container), addresses, None).await
    }

    /// Rewrites targets in place, for what is not to go as a whole.
    pub async fn rewrite<P: Projection>(&self, projection: &P, targets: Vec<P::Target>) -> Result<(), SettleError> {
        self.0.settle(projection, targets, None).await
    }

    /// When a tombstone that is written now is gone.
    pub fn gone_by(&self) -> Timestamp {
        let writer = self.0.reader().writer;
        writer.clock().now().saturating_add(writer.options().tombstone_ttl).unwrap_or(Timestamp::MAX)
    }

    /// Documents written so far.
    pub fn written(&self) -> u64 {
        self.0.tally().total().written
    }
}

/// Nothing, wherever something is.
struct Erased<'c>(&'c str);

/// What a stored document says of what it was made from.
#[derive(Default, Deserialize)]
struct Made<'a> {
    #[serde(rename = "_source", default)]
    source: Option<Lineage>,
    #[serde(rename = "asOf", default, borrow)]
    as_of: Option<AsOf<'a>>,
    #[serde(rename = "deletedAt", default)]
    deleted_at: Option<serde::de::IgnoredAny>,
}

impl Projection for Erased<'_> {
    type Target = Address;
    type Sources = ();

    fn container(&self) -> &str {
        self.0
    }

    fn address(&self, target: &Address) -> Address {
        target.clone()
    }

    fn read<'a>(&'a self, _: &'a [Address], _: &'a Reader<'a>) -> BoxFuture<'a, Result<(), SettleError>> {
        async { Ok(()) }.boxed()
    }

    fn compute(&self, _: &Address, (): &(), current: Option<&Document>) -> Result<Desired, String> {
        let Some(current) = current else { return Ok(Desired::Leave) };
        // What nobody here wrote says nothing of its sources.
        let made: Made<'_> = serde_json::from_slice(&current.body).unwrap_or_default();
        let basis = match made {
            Made { deleted_at: Some(_), .. } => return Ok(Desired::Leave),
            Made { as_of: Some(as_of), .. } => {
                Basis::Count { container_rid: as_of.container.as_ref().into(), lsn: as_of.lsn }
            }
            Made { source, .. } => {
                let Lineage { rev, from } = source.unwrap_or(Lineage { rev: 0, from: Vec::new() });
                Basis::Sources { rev, sources: from }
            }
        };
        // Any time that is always the same will do: no source says it.
        Ok(Desired::Absent { deleted_at: Timestamp::UNIX_EPOCH, basis })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use feedmill_store_api::{DocumentId, ETag, PartitionKey};
    use serde_json::{Value, json};

    use super::*;

    fn erased(current: &Value) -> Option<Basis> {
        let address = Address { key: PartitionKey::from("u"), id: DocumentId::new("u:p").unwrap() };
        let current = Document { etag: ETag::new("1"), body: Bytes::from(current.to_string()) };
        match Erased("c").compute(&address, &(), Some(&current)).unwrap() {
            Desired::Absent { basis, .. } => Some(basis),
            Desired::Leave => None,
            Desired::Document { .. } => panic!("nothing is made"),
        }
    }

    #[test]
    fn a_tombstone_names_what_the_document_was_made_from() {
        let item = json!({"id": "u:p", "_source": {"rev": 3, "from": [["posts", "p", "\"7\""]]}});
        let sources = vec![crate::SourceRef("posts".into(), "p".into(), Some(ETag::new("\"7\"")))];
        assert_eq!(erased(&item), Some(Basis::Sources { rev: 3, sources }));
        let counter = json!({"id": "u:posts", "asOf": {"container": "rid=", "lsn": 9}});
        assert_eq!(erased(&counter), Some(Basis::Count { container_rid: "rid=".into(), lsn: 9 }));
        assert_eq!(erased(&json!({"id": "u:p"})), Some(Basis::Sources { rev: 0, sources: Vec::new() }));
    }

    #[test]
    fn a_tombstone_is_left_as_it_is() {
        assert_eq!(erased(&json!({"id": "u:p", "deletedAt": "2020-01-01T00:00:00.000Z"})), None);
    }
}
