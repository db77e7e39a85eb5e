use bytes::Bytes;
use feedmill_store_api::{ContainerSpec, DefaultTtl, Error, KeyPart, Order, PartitionKey, limits};

use crate::body::{Paths, Scan, without_system_fields};
use crate::epk::{HASH_BYTES, PARTS_MAX};
use crate::error::invalid;
use crate::value::{self, Found};

/// Composite indexes of a container, as many as the service allows.
const INDEXES_MAX: usize = 100;

/// What a container's definition means for its documents.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) spec: ContainerSpec,
    /// Only those that are kept: without key paths, and none that is the beginning of another.
    pub(crate) indexes: Vec<CompositeIndex>,
    /// All that a write needs to know of a document.
    wanted: Paths,
    /// Only what the indexes need.
    wanted_by_indexes: Paths,
    id: usize,
    ttl: usize,
    keys: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct CompositeIndex {
    pub(crate) terms: Vec<IndexTerm>,
}

#[derive(Debug)]
pub(crate) struct IndexTerm {
    pub(crate) path: Vec<String>,
    pub(crate) descending: bool,
    /// In `Schema::wanted` and in `Schema::wanted_by_indexes`.
    slots: (usize, usize),
}

/// A document that fits its container.
pub(crate) struct NewDocument {
    /// Without the store's own fields.
    pub(crate) body: Bytes,
    /// For each index of the schema.
    pub(crate) index_values: Vec<Vec<u8>>,
    pub(crate) indexed_values: u32,
    /// How long it lives after each write; `None` for ever.
    pub(crate) lives_seconds: Option<u32>,
}

impl Schema {
    pub(crate) fn new(spec: ContainerSpec) -> Result<Self, Error> {
        let name = &spec.name;
        if name.is_empty() || name.contains(['/', '\\', '?', '#']) {
            return Err(invalid(format!(
                "provision a container named {name:?}: a name has no / \\ ? # and is not empty"
            )));
        }
        if spec.partition_key.is_empty() || spec.partition_key.len() > PARTS_MAX {
            return Err(invalid(format!("provision {name}: a partition key has one to {PARTS_MAX} paths")));
        }
        if spec.partitions == 0 || spec.partitions > u32::from(u16::MAX) {
            return Err(invalid(format!("provision {name}: {} partitions; give 1 to {}", spec.partitions, u16::MAX)));
        }
        if spec.composite_indexes.len() > INDEXES_MAX {
            return Err(invalid(format!("provision {name}: more than {INDEXES_MAX} composite indexes")));
        }
        let (mut wanted, mut wanted_by_indexes) = (Paths::default(), Paths::default());
        let (id, ttl) = (wanted.want(&["id"]), wanted.want(&["ttl"]));
        let key_paths = spec.partition_key.iter().map(|path| split(name, path)).collect::<Result<Vec<_>, _>>()?;
        let keys = key_paths.iter().map(|path| wanted.want(path)).collect();
        for path in &spec.excluded_paths {
            let path = path.strip_suffix("/*").or_else(|| path.strip_suffix("/?")).unwrap_or(path);
            // `/*` is everything.
            wanted.exclude(&if path.is_empty() { Vec::new() } else { split(name, path)? });
        }
        let mut indexes = Vec::<CompositeIndex>::new();
        for paths in &spec.composite_indexes {
            let mut terms = Vec::new();
            for path in paths {
                let names = split(name, &path.path)?;
                // Constant within a partition key, so it orders nothing there.
                if key_paths.contains(&names) {
                    continue;
                }
                let slots = (wanted.want(&names), wanted_by_indexes.want(&names));
                terms.push(IndexTerm { path: names, descending: path.order == Order::Descending, slots });
            }
            let index = CompositeIndex { terms };
            if index.terms.is_empty() || indexes.iter().any(|other| index.is_beginning_of(other)) {
                continue;
            }
            indexes.retain(|other| !other.is_beginning_of(&index));
            indexes.push(index);
        }
        Ok(Self { spec, indexes, wanted, wanted_by_indexes, id, ttl, keys })
    }

    pub(crate) fn effective_key_bytes(&self) -> usize {
        HASH_BYTES * self.keys.len()
    }

    pub(crate) fn check_key(&self, key: &PartitionKey) -> Result<(), Error> {
        let (paths, parts) = (self.spec.partition_key.len(), key.parts().len());
        if paths != parts {
            let name = &self.spec.name;
            return Err(invalid(format!(
                "use partition key {key} in {name}: it has {parts} parts, the container's {paths}"
            )));
        }
        let bytes = key.parts().iter().map(|part| if let KeyPart::String(text) = part { text.len() } else { 8 });
        let bytes = bytes.sum::<usize>();
        if bytes > limits::PARTITION_KEY_BYTES_MAX {
            let (name, max) = (&self.spec.name, limits::PARTITION_KEY_BYTES_MAX);
            return Err(invalid(format!("use a partition key of {bytes} bytes in {name}: it may have {max}")));
        }
        Ok(())
    }

    /// What a write of `text` under `key` and `id` would store.
    pub(crate) fn document(&self, key: &PartitionKey, id: &str, text: &Bytes) -> Result<NewDocument, Error> {
        let name = &self.spec.name;
        let refuse = |why: String| invalid(format!("write {id} to {name}: {why}"));
        if text.len() > limits::ITEM_BYTES_MAX {
            let (bytes, max) = (text.len(), limits::ITEM_BYTES_MAX);
            return Err(refuse(format!("the body has {bytes} bytes, it may have {max}")));
        }
        let bytes = text;
        let text =
            std::str::from_utf8(bytes).map_err(|error| refuse("the body is not UTF-8".into()).with_source(error))?;
        let scan = self.wanted.scan(text).map_err(|error| {
            refuse(format!("the body is not the JSON text of an object: {error}")).with_source(error)
        })?;
        if !matches!(&scan.found[self.id], Found::String(found) if found == id) {
            return Err(refuse(format!("the body's id is another: {}", brief(&scan.found[self.id]))));
        }
        for ((path, &slot), part) in self.spec.partition_key.iter().zip(&self.keys).zip(key.parts()) {
            if !is_part(&scan.found[slot], part) {
                let found = brief(&scan.found[slot]);
                return Err(refuse(format!("the body has {found} at {path}, the request's partition key is {key}")));
            }
        }
        let own_ttl = match &scan.found[self.ttl] {
            Found::Undefined => None,
            Found::Number(-1.0) => Some(DefaultTtl::Forever),
            Found::Number(ttl) if *ttl >= 1.0 && *ttl <= f64::from(i32::MAX) && ttl.fract() == 0.0 => {
                Some(DefaultTtl::Seconds(*ttl as u32))
            }
            other => {
                let other = brief(other);
                return Err(refuse(format!("ttl is {other}; it is -1 or a positive whole number of seconds")));
            }
        };
        let lives_seconds = self.spec.default_ttl.and_then(|default| match own_ttl.unwrap_or(default) {
            DefaultTtl::Forever => None,
            DefaultTtl::Seconds(seconds) => Some(seconds),
        });
        let body = if scan.has_system_fields {
            let kept = without_system_fields(text);
            Bytes::from(kept.map_err(|error| refuse("the body cannot be read".into()).with_source(error))?)
        } else {
            bytes.slice_ref(text.trim_ascii().as_bytes())
        };
        let index_values = self.index_values(&scan, |term| term.slots.0);
        Ok(NewDocument { body, index_values, indexed_values: scan.indexed_values, lives_seconds })
    }

    /// What the indexes have for a stored body; empty for one that cannot be read, which was then never indexed.
    pub(crate) fn stored_index_values(&self, body: &[u8]) -> Vec<Vec<u8>> {
        if self.indexes.is_empty() {
            return Vec::new();
        }
        let scan = std::str::from_utf8(body).ok().and_then(|text| self.wanted_by_indexes.scan(text).ok());
        scan.map(|scan| self.index_values(&scan, |term| term.slots.1)).unwrap_or_default()
    }

    fn index_values(&self, scan: &Scan<'_>, slot: impl Fn(&IndexTerm) -> usize) -> Vec<Vec<u8>> {
        let encode = |index: &CompositeIndex| {
            let mut encoded = Vec::with_capacity(48);
            for term in &index.terms {
                value::encode(&scan.found[slot(term)], term.descending, &mut encoded);
            }
            encoded
        };
        self.indexes.iter().map(encode).collect()
    }
}

impl CompositeIndex {
    fn is_beginning_of(&self, other: &Self) -> bool {
        let same = |(a, b): (&IndexTerm, &IndexTerm)| a.path == b.path && a.descending == b.descending;
        self.terms.len() <= other.terms.len() && self.terms.iter().zip(&other.terms).all(same)
    }
}

fn split(container: &str, path: &str) -> Result<Vec<String>, Error> {
    let names = path.strip_prefix('/').map(|rest| rest.split('/').map(|name| name.trim_matches('"').to_owned()));
    match names.map(Iterator::collect::<Vec<_>>) {
        Some(names) if names.iter().all(|name| !name.is_empty()) => Ok(names),
        _ => Err(invalid(format!("provision {container}: {path:?} is not a path such as /postId"))),
    }
}

/// For messages, which must stay short whatever a body holds.
fn brief(found: &Found<'_>) -> String {
    match found {
        Found::String(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
        other => format!("{other:?}"),
    }
}

fn is_part(found: &Found<'_>, part: &KeyPart) -> bool {
    match (found, part) {
        (Found::Undefined, KeyPart::Undefined) | (Found::Null, KeyPart::Null) => true,
        (Found::Bool(found), KeyPart::Bool(part)) => found == part,
        (Found::Number(found), KeyPart::Number(part)) => found == part,
        (Found::String(found), KeyPart::String(part)) => found == part,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use feedmill_store_api::ErrorKind;

    use super::*;

    fn feed() -> Schema {
        use Order::{Ascending, Descending};
        let spec = ContainerSpec::new("userFeed", "/recipientId")
            .ttl(DefaultTtl::Forever)
            .composite_index(&[("/recipientId", Ascending), ("/createdAt", Descending)])
            .composite_index(&[("/createdAt", Descending), ("/postId", Ascending)])
            .exclude("/_source/*");
        Schema::new(spec).unwrap()
    }

    #[test]
    fn an_index_that_is_the_beginning_of_another_is_not_kept_twice() {
        let schema = feed();
        assert_eq!(schema.indexes.len(), 1);
        assert_eq!(schema.indexes[0].terms.len(), 2);
    }

    #[test]
    fn a_body_must_fit_its_request() {
        let key = PartitionKey::from("u");
        let check = |text: &str, why: &str| {
            let error = feed().document(&key, "1", &Bytes::copy_from_slice(text.as_bytes())).err().expect(text);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(why), "{error}");
        };
        check(r#"{"id":"2","recipientId":"u"}"#, "id is another");
        check(r#"{"id":"1","recipientId":"v"}"#, "partition key");
        check(r#"{"id":"1"}"#, "partition key");
        check(r#"[]"#, "JSON text of an object");
        for ttl in ["0", "-2", "1.5", "null", "\"1\"", "4294967296"] {
            check(&format!(r#"{{"id":"1","recipientId":"u","ttl":{ttl}}}"#), "ttl");
        }
        let body = Bytes::from_static(br#" {"id":"1","recipientId":"u","ttl":5,"_source":{"a":1}} "#);
        let document = feed().document(&key, "1", &body).unwrap();
        assert_eq!((document.lives_seconds, document.indexed_values), (Some(5), 3));
        assert_eq!(&*document.body, br#"{"id":"1","recipientId":"u","ttl":5,"_source":{"a":1}}"#);
    }

    #[test]
    fn a_ttl_counts_only_where_the_container_has_one() {
        let lives = |default: Option<DefaultTtl>, body: &str| {
            let mut spec = ContainerSpec::new("c", "/id");
            spec.default_ttl = default;
            let schema = Schema::new(spec).unwrap();
            schema
                .document(&PartitionKey::from("1"), "1", &Bytes::copy_from_slice(body.as_bytes()))
                .unwrap()
                .lives_seconds
        };
        let (plain, own, never) = (r#"{"id":"1"}"#, r#"{"id":"1","ttl":7}"#, r#"{"id":"1","ttl":-1}"#);
        assert_eq!([plain, own, never].map(|body| lives(None, body)), [None, None, None]);
        assert_eq!([plain, own, never].map(|body| lives(Some(DefaultTtl::Forever), body)), [None, Some(7), None]);
        assert_eq!([plain, own, never].map(|body| lives(Some(DefaultTtl::Seconds(9)), body)), [Some(9), Some(7), None]);
    }
}
