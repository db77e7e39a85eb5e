//! The lease document, field for field: what the .NET change feed processor writes as version 1, and reads as 0 and 1.

use bytes::Bytes;
use feedmill_store_api::{Document, DocumentId, ETag, FeedRange, FeedStart, PartitionKey, Position};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::error::Error;
use super::portion::Portion;
use crate::LeaseMode;

const ID: &str = "id";
const PARTITION_KEY: &str = "partitionKey";
const VERSION: &str = "version";
const LEASE_TOKEN: &str = "LeaseToken";
/// Version-0 leases that came from the V2 library have it instead of `LeaseToken`.
const PARTITION_ID: &str = "PartitionId";
const FEED_RANGE: &str = "FeedRange";
const OWNER: &str = "Owner";
const CONTINUATION: &str = "ContinuationToken";
const PROPERTIES: &str = "properties";
const TIMESTAMP: &str = "timestamp";
const MODE: &str = "Mode";
const MODE_INCREMENTAL: &str = "Incremental Feed";
/// Written by the store.
const SYSTEM: [&str; 5] = ["_etag", "_ts", "_rid", "_self", "_attachments"];

/// In `properties`, a map of strings that .NET carries along and copies to children.
const EPOCH: &str = "epoch";
const START_FROM: &str = "startFrom";
const INCARNATION: &str = "incarnation";
/// Our own copy of `Owner`: a .NET host that takes the lease leaves it as it was, and so gives itself away.
const OWNER_COPY: &str = "owner";
const BEGINNING: &str = "beginning";
/// By whose rules its owner, if that is one of us, keeps it: there for `shared` alone.
const RULES: &str = "rules";
const RULES_SHARED: &str = "shared";
/// How many of its feed's commits are its own, where its range came out of a split.
const PORTION: &str = "portion";
const OUR_PROPERTIES: [&str; 6] = [EPOCH, START_FROM, INCARNATION, OWNER_COPY, RULES, PORTION];

/// `{processor}{host}_{database rid}_{container rid}`, without a separator after the name, as .NET has it.
pub(crate) fn lease_prefix(processor: &str, host: &str, database_rid: &str, container_rid: &str) -> String {
    format!("{processor}{host}_{database_rid}_{container_rid}")
}

/// Who owns: a host, and which of its lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) host: String,
    pub(crate) incarnation: String,
}

/// A lease as it is stored, or as it shall be. Fields of others are kept.
#[derive(Clone, Debug)]
pub(crate) struct LeaseDocument {
    id: DocumentId,
    key: PartitionKey,
    range: FeedRange,
    fields: Map<String, Value>,
}

impl LeaseDocument {
    /// A version-1 lease that nobody owns yet. `start` must not be `Now`: what is stored must mean the same tomorrow.
    pub(super) fn new(prefix: &str, range: FeedRange, start: &FeedStart, partition_key: bool) -> Result<Self, Error> {
        Ok(Self::without_start(prefix, range, partition_key)?.starting(start))
    }

    /// A version-1 lease that nobody owns and whose start nobody knows, as .NET makes them.
    pub(super) fn without_start(prefix: &str, range: FeedRange, partition_key: bool) -> Result<Self, Error> {
        let token = range.token();
        let id = DocumentId::new(format!("{prefix}..{token}")).map_err(|source| Error::Id {
            prefix: prefix.to_owned(),
            token: token.clone(),
            source,
        })?;
        let mut fields = Map::new();
        fields.insert(ID.to_owned(), id.as_str().into());
        if partition_key {
            fields.insert(PARTITION_KEY.to_owned(), id.as_str().into());
        }
        fields.insert(VERSION.to_owned(), 1.into());
        fields.insert(LEASE_TOKEN.to_owned(), token.into());
        fields.insert(FEED_RANGE.to_owned(), json!({"Range": &range}));
        fields.insert(OWNER.to_owned(), Value::Null);
        fields.insert(CONTINUATION.to_owned(), Value::Null);
        fields.insert(PROPERTIES.to_owned(), json!({}));
        fields.insert(TIMESTAMP.to_owned(), Value::Null);
        fields.insert(MODE.to_owned(), MODE_INCREMENTAL.into());
        let key = PartitionKey::from(id.as_str());
        Ok(Self { id, key, range, fields })
    }

    /// Of a part of this one's range, free, with what others keep in its properties.
    pub(super) fn part(
        &self,
        prefix: &str,
        range: FeedRange,
        start: &FeedStart,
        partition_key: bool,
    ) -> Result<Self, Error> {
        let mut part = Self::new(prefix, range, start, partition_key)?;
        if let Some(Value::Object(properties)) = self.fields.get(PROPERTIES) {
            for (name, value) in properties.iter().filter(|(name, _)| !OUR_PROPERTIES.contains(&name.as_str())) {
                part.fields.entry(PROPERTIES).or_insert_with(|| json!({}))[name] = value.clone();
            }
        }
        if let Some(start_from) = self.property(START_FROM) {
            // A time goes with every page, which merged ranges need.
            part.set_property(START_FROM, start_from.to_owned());
        }
        Ok(part)
    }

    /// What is kept of it when it is removed.
    pub(crate) fn into_record(mut self) -> Value {
        for name in SYSTEM {
            self.fields.remove(name);
        }
        Value::Object(self.fields)
    }

    pub(super) fn parse(document: &Document) -> Result<Self, Error> {
        let fields: Map<String, Value> = serde_json::from_slice(&document.body)
            .map_err(|error| Error::Unreadable { id: "?".to_owned(), reason: error.to_string() })?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let unreadable = |reason: String| Error::Unreadable { id: text(ID).unwrap_or("?").to_owned(), reason };
        let id = DocumentId::new(text(ID).unwrap_or_default()).map_err(|error| unreadable(error.to_string()))?;
        // Up to .NET 3.58 the key of a lease in a container by `/partitionKey` was not its id.
        let key = PartitionKey::from(text(PARTITION_KEY).unwrap_or(id.as_str()));
        if let Some(mode) = text(MODE)
            && !mode.eq_ignore_ascii_case(MODE_INCREMENTAL)
        {
            return Err(Error::Mode { id: id.into_string(), mode: mode.to_owned() });
        }
        let token = text(LEASE_TOKEN).or_else(|| text(PARTITION_ID)).unwrap_or("?");
        let Some(range) = fields.get(FEED_RANGE).and_then(|range| range.get("Range")) else {
            return Err(unreadable(format!(
                "it has no FeedRange that says which keys its token {token} means; start its .NET processor once"
            )));
        };
        let range = serde_json::from_value(range.clone()).map_err(|error| unreadable(error.to_string()))?;
        if !matches!(fields.get(PROPERTIES), None | Some(Value::Null | Value::Object(_))) {
            return Err(unreadable("its properties are not an object".to_owned()));
        }
        Ok(Self { id, key, range, fields })
    }

    pub(crate) fn id(&self) -> &DocumentId {
        &self.id
    }

    pub(super) fn key(&self) -> &PartitionKey {
        &self.key
    }

    pub(crate) fn range(&self) -> &FeedRange {
        &self.range
    }

    /// `None` when it is free.
    pub(crate) fn owner(&self) -> Option<&str> {
        self.text(OWNER).filter(|owner| !owner.trim().is_empty())
    }

    pub(super) fn incarnation(&self) -> Option<&str> {
        self.property(INCARNATION)
    }

    /// Host and life that own it; an owner who is not one of us has the empty life.
    pub(crate) fn owned_by(&self) -> Option<Owner> {
        let host = self.owner()?;
        let ours = !self.is_foreign();
        let incarnation = self.incarnation().filter(|_| ours).unwrap_or_default().to_owned();
        Some(Owner { host: host.to_owned(), incarnation })
    }

    /// Whether somebody owns it who takes leases by other rules than ours.
    pub(crate) fn is_foreign(&self) -> bool {
        self.owner().is_some_and(|owner| self.property(OWNER_COPY) != Some(owner))
    }

    /// Whether its owner is one of us who shares it with .NET hosts.
    pub(crate) fn is_shared(&self) -> bool {
        self.property(RULES) == Some(RULES_SHARED)
    }

    /// When it was last written, by the writer's clock; by the store's where the writer did not say.
    pub(crate) fn written_at(&self) -> Option<Timestamp> {
        let stamp = self.text(TIMESTAMP).and_then(|at| at.parse().ok());
        stamp.or_else(|| Timestamp::from_second(self.fields.get("_ts")?.as_i64()?).ok())
    }

    /// What it is called after its prefix.
    pub(crate) fn token(&self) -> &str {
        self.id.as_str().rsplit("..").next().unwrap_or_default()
    }

    /// Grows with each taking; 0 where only .NET has owned it.
    pub(crate) fn epoch(&self) -> u64 {
        self.property(EPOCH).and_then(|epoch| epoch.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn position(&self) -> Option<&str> {
        self.text(CONTINUATION)
    }

    /// Whether both come from one taking by one owner, whatever their positions.
    pub(crate) fn is_same_taking(&self, other: &Self) -> bool {
        self.owner() == other.owner() && self.epoch() == other.epoch() && self.incarnation() == other.incarnation()
    }

    /// Where to read on; `None` in a lease whose start was never stored, as .NET makes them.
    pub(crate) fn start(&self) -> Option<FeedStart> {
        let from = match self.property(START_FROM) {
            Some(BEGINNING) => Some(FeedStart::Beginning),
            Some(time) => time.parse().ok().map(FeedStart::Time),
            None => None,
        };
        match self.position().map(Position::new) {
            Some(position) => Some(from.unwrap_or(FeedStart::Beginning).after(position)),
            None => from,
        }
    }

    /// `None` where its range did not come out of a split, as far as is known.
    pub(crate) fn portion(&self) -> Option<Portion> {
        self.property(PORTION).and_then(Portion::parse)
    }

    #[must_use]
    pub(super) fn with_portion(mut self, portion: Option<&Portion>) -> Self {
        if let Some(portion) = portion {
            self.set_property(PORTION, portion.text());
        }
        self
    }

    /// With its start position stored.
    #[must_use]
    pub(super) fn starting(mut self, start: &FeedStart) -> Self {
        match start {
            FeedStart::Position(position) => {
                self.fields.insert(CONTINUATION.to_owned(), position.as_str().into());
            }
            FeedStart::PositionSince { position, since } => {
                self.fields.insert(CONTINUATION.to_owned(), position.as_str().into());
                self.set_property(START_FROM, since.to_string());
            }
            FeedStart::Beginning => self.set_property(START_FROM, BEGINNING.to_owned()),
            FeedStart::Time(time) => self.set_property(START_FROM, time.to_string()),
            FeedStart::Now => unreachable!("the keeper turns `now` into the position of an empty poll"),
        }
        self
    }

    /// Owned by `owner` in the next epoch: taken by it, or handed to it, and kept by these rules.
    #[must_use]
    pub(super) fn taken_by(mut self, owner: &Owner, mode: LeaseMode) -> Self {
        let epoch = self.epoch() + 1;
        self.fields.insert(OWNER.to_owned(), owner.host.as_str().into());
        self.set_property(OWNER_COPY, owner.host.clone());
        self.set_property(EPOCH, epoch.to_string());
        self.set_property(INCARNATION, owner.incarnation.clone());
        match mode {
            LeaseMode::Shared => self.set_property(RULES, RULES_SHARED.to_owned()),
            LeaseMode::Own => self.drop_property(RULES),
        }
        self
    }

    #[must_use]
    pub(super) fn at(mut self, position: &Position) -> Self {
        self.fields.insert(CONTINUATION.to_owned(), position.as_str().into());
        self
    }

    #[must_use]
    pub(super) fn free(mut self) -> Self {
        self.fields.insert(OWNER.to_owned(), Value::Null);
        self
    }

    /// Nobody's, in the next epoch: whoever had it must take it anew.
    #[must_use]
    pub(crate) fn freed(self) -> Self {
        let epoch = self.epoch() + 1;
        let mut freed = self.free();
        freed.set_property(EPOCH, epoch.to_string());
        freed
    }

    /// Going on from `start`, which must not be `Now`, wherever it was.
    #[must_use]
    pub(crate) fn moved_to(mut self, start: &FeedStart) -> Self {
        self.fields.insert(CONTINUATION.to_owned(), Value::Null);
        self.starting(start)
    }

    /// Written now. .NET hosts take this for the lease's sign of life.
    pub(super) fn stamp(&mut self, now: Timestamp) {
        self.fields.insert(TIMESTAMP.to_owned(), now.strftime("%Y-%m-%dT%H:%M:%S%.7fZ").to_string().into());
    }

    pub(super) fn body(&mut self) -> Bytes {
        for name in SYSTEM {
            self.fields.remove(name);
        }
        Bytes::from(serde_json::to_vec(&self.fields).expect("a map of JSON values is JSON"))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    fn property(&self, name: &str) -> Option<&str> {
        self.fields.get(PROPERTIES)?.get(name)?.as_str()
    }

    fn drop_property(&mut self, name: &str) {
        if let Some(Value::Object(properties)) = self.fields.get_mut(PROPERTIES) {
            properties.remove(name);
        }
    }

    fn set_property(&mut self, name: &str, value: String) {
        let properties = self.fields.entry(PROPERTIES).or_insert(Value::Null);
        if !properties.is_object() {
            *properties = json!({});
        }
        properties[name] = Value::String(value);
    }
}

/// A stored lease and its version.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) lease: LeaseDocument,
    pub(crate) etag: ETag,
}

impl Stored {
    pub(crate) fn parse(document: &Document) -> Result<Self, Error> {
        Ok(Self { lease: LeaseDocument::parse(document)?, etag: document.etag.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "ordersmyacct.documents.azure.com_kQ8lAA==_kQ8lAMdyeyk=";

    fn stored(body: Value) -> Result<LeaseDocument, Error> {
        LeaseDocument::parse(&Document { etag: ETag::new("\"1\""), body: Bytes::from(body.to_string()) })
    }

    fn json_of(lease: &mut LeaseDocument) -> Value {
        if lease.owner().is_some() {
            lease.stamp(Timestamp::UNIX_EPOCH);
        }
        serde_json::from_slice(&lease.body()).unwrap()
    }

    fn owner() -> Owner {
        Owner { host: "host-1".to_owned(), incarnation: "a1".to_owned() }
    }

    #[test]
    fn the_prefix_has_no_separator_after_the_name() {
        assert_eq!(lease_prefix("orders", "myacct.documents.azure.com", "kQ8lAA==", "kQ8lAMdyeyk="), PREFIX);
    }

    #[test]
    fn a_new_lease_is_a_version_1_lease_of_dotnet() {
        let range = FeedRange::new("", "3FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF").unwrap();
        let mut lease = LeaseDocument::new(PREFIX, range, &FeedStart::Beginning, true).unwrap();
        let id = format!("{PREFIX}..-3FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
        assert_eq!(
            json_of(&mut lease),
            json!({
                "id": id, "partitionKey": id, "version": 1, "LeaseToken": "-3FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
                "FeedRange": {"Range": {"min": "", "max": "3FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"}},
                "Owner": null, "ContinuationToken": null, "properties": {"startFrom": "beginning"},
                "timestamp": null, "Mode": "Incremental Feed",
            })
        );
    }

    #[test]
    fn taking_a_dotnet_lease_keeps_its_version_token_and_unknown_fields() {
        let lease = stored(json!({
            "id": format!("{PREFIX}..0"), "version": 0, "_etag": "\"1\"", "_ts": 5, "LeaseToken": "0",
            "FeedRange": {"Range": {"min": "", "max": "FF"}}, "Owner": "net", "ContinuationToken": "\"1526353662\"",
            "properties": {"theirs": "kept"}, "timestamp": "2024-03-11T23:32:00.4131877Z", "Mode": "Incremental Feed",
            "somethingNew": [1],
        }))
        .unwrap();
        assert_eq!(lease.owner(), Some("net"));
        assert_eq!(lease.range(), &FeedRange::full());
        assert_eq!(lease.start(), Some(FeedStart::Position(Position::new("\"1526353662\""))));
        let mut taken = lease.clone().taken_by(&owner(), LeaseMode::Own);
        assert_eq!(
            json_of(&mut taken),
            json!({
                "id": format!("{PREFIX}..0"), "version": 0, "LeaseToken": "0",
                "FeedRange": {"Range": {"min": "", "max": "FF"}}, "Owner": "host-1",
                "ContinuationToken": "\"1526353662\"",
                "properties": {"theirs": "kept", "owner": "host-1", "epoch": "1", "incarnation": "a1"},
                "timestamp": "1970-01-01T00:00:00.0000000Z", "Mode": "Incremental Feed", "somethingNew": [1],
            })
        );
        assert_eq!(taken.clone().taken_by(&owner(), LeaseMode::Own).epoch(), 2);
        let mut shared = lease.taken_by(&owner(), LeaseMode::Shared);
        assert_eq!(json_of(&mut shared)["properties"]["rules"], "shared");
        assert!(shared.is_shared() && !shared.clone().taken_by(&owner(), LeaseMode::Own).is_shared());
        assert_eq!(taken.free().owner(), None);
    }

    #[test]
    fn starts_read_back_as_they_were_stored() {
        let time: Timestamp = "2024-03-11T23:32:00Z".parse().unwrap();
        let position = Position::new("\"7\"");
        let since = FeedStart::PositionSince { position: position.clone(), since: time };
        for start in [FeedStart::Beginning, FeedStart::Time(time), FeedStart::Position(position), since] {
            let lease = LeaseDocument::new("p", FeedRange::full(), &start, false).unwrap();
            assert_eq!(lease.start(), Some(start));
        }
        let dotnet = stored(json!({"id": "p..0", "FeedRange": {"Range": {"min": "", "max": "FF"}}})).unwrap();
        assert_eq!(dotnet.start(), None);
        let stamped = |fields: Value| {
            let mut body = json!({"id": "p..0", "FeedRange": {"Range": {"min": "", "max": "FF"}}});
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            stored(body).unwrap().written_at().map(|at| at.as_second())
        };
        assert_eq!(stamped(json!({"timestamp": "1970-01-01T00:00:09.1234567Z", "_ts": 5})), Some(9));
        assert_eq!(stamped(json!({"timestamp": null, "_ts": 5})), Some(5));
        assert_eq!(stamped(json!({})), None);
    }

    #[test]
    fn what_cannot_be_taken_over_is_refused_with_its_reason() {
        let no_range = stored(json!({"id": "p..0", "LeaseToken": "0"}));
        assert!(matches!(no_range, Err(Error::Unreadable { .. })));
        let other_mode = stored(json!({
            "id": "p..0", "Mode": "Full-Fidelity Feed", "FeedRange": {"Range": {"min": "", "max": "FF"}},
        }));
        assert!(matches!(other_mode, Err(Error::Mode { .. })));
    }
}
