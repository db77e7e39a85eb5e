//! What becomes of a network: people edit, withdraw and return, mute, block, and take other names.

use std::collections::BTreeMap;

use bytes::Bytes;
use feedmill_clock::Entropy;
use feedmill_documents::{containers, id};
use feedmill_store_api::PartitionKey;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Network, Options};
use crate::SourceWrite;
use crate::source::iso;

/// What is withdrawn stays so long, so that every reader of the feed sees it go.
const WITHDRAWN_TTL_SECONDS: u32 = 7 * 24 * 60 * 60;

/// Documents as the changes so far have left them.
struct State {
    documents: Vec<Document>,
    /// Indexes into the documents, by container.
    by_container: BTreeMap<&'static str, Vec<usize>>,
    /// Of blocks, by the two ids.
    blocks: BTreeMap<(String, String), usize>,
    at: String,
}

struct Document {
    container: &'static str,
    key: PartitionKey,
    fields: Map<String, Value>,
}

impl Network {
    /// About `options.changes` changes to what [`Self::writes`] gives, in order. Versions of a document only go up.
    pub fn changes(&self, options: &Options, end: Timestamp) -> Vec<SourceWrite> {
        // A stream of its own, so that a network is the same whatever becomes of it.
        let entropy = Entropy::seeded(options.seed ^ 0x6368_616e_6765);
        let mut state = State::of(self, end);
        (0..options.changes).flat_map(|number| state.change(number, &entropy)).collect()
    }
}

impl State {
    fn of(network: &Network, end: Timestamp) -> Self {
        let mut state =
            Self { documents: Vec::new(), by_container: BTreeMap::new(), blocks: BTreeMap::new(), at: iso(end) };
        for SourceWrite { container, key, body, .. } in network.writes() {
            let fields = serde_json::from_slice(&body).expect("what was written is an object");
            state.add(Document { container, key, fields });
        }
        state
    }

    fn add(&mut self, document: Document) -> usize {
        let index = self.documents.len();
        self.by_container.entry(document.container).or_default().push(index);
        self.documents.push(document);
        index
    }

    fn change(&mut self, number: u32, entropy: &Entropy) -> Vec<SourceWrite> {
        let container = match entropy.below(0..10) {
            0..4 => containers::POSTS,
            4..6 => containers::FOLLOWS,
            6..8 => containers::REACTIONS,
            8 => containers::PUBLIC_PROFILES,
            _ => return self.block(entropy),
        };
        let Some(index) = self.someone_of(container, entropy) else { return Vec::new() };
        let kind = entropy.below(0..3);
        let fields = &mut self.documents[index].fields;
        match (container, kind) {
            (containers::POSTS, 0) => {
                fields.insert("content".to_owned(), json!(format!("on second thought, no. {number}")));
            }
            (containers::POSTS, 1) => {
                let status = if fields["status"] == "published" { "hidden" } else { "published" };
                fields.insert("status".to_owned(), json!(status));
            }
            (containers::FOLLOWS, 0) => {
                let muted = fields.get("muted") != Some(&json!(true));
                fields.insert("muted".to_owned(), json!(muted));
            }
            (containers::REACTIONS, 0) => {
                let kind = if fields["type"] == "like" { "love" } else { "like" };
                fields.insert("type".to_owned(), json!(kind));
            }
            (containers::PUBLIC_PROFILES, _) => {
                fields.insert("displayName".to_owned(), json!(format!("Nobody {number}")));
            }
            _ => self.withdraw_or_return(index),
        }
        vec![self.written(index)]
    }

    /// Blocks or unblocks a pair, on both sides.
    fn block(&mut self, entropy: &Entropy) -> Vec<SourceWrite> {
        // Where there is an edge a block makes a difference.
        let Some(edge) = self.someone_of(containers::FOLLOWS, entropy) else { return Vec::new() };
        let person = |field: &str| self.documents[edge].fields[field].as_str().unwrap_or_default().to_owned();
        let pair = (person("followeeId"), person("followerId"));
        let sides = [pair.clone(), (pair.1, pair.0)];
        sides.map(|side| self.block_on(side)).into()
    }

    fn block_on(&mut self, (user, other): (String, String)) -> SourceWrite {
        if let Some(&index) = self.blocks.get(&(user.clone(), other.clone())) {
            self.withdraw_or_return(index);
            return self.written(index);
        }
        let id = id::join([&user, &other]).expect("numbers make short ids");
        let fields = json!({"id": id.as_str(), "userId": user, "otherId": other, "createdAt": self.at, "version": 0});
        let Value::Object(fields) = fields else { unreachable!("an object was written") };
        let key = PartitionKey::from(user.as_str());
        let index = self.add(Document { container: containers::BLOCKS, key, fields });
        self.blocks.insert((user, other), index);
        self.written(index)
    }

    fn someone_of(&self, container: &str, entropy: &Entropy) -> Option<usize> {
        let indexes = self.by_container.get(container).filter(|indexes| !indexes.is_empty())?;
        Some(indexes[entropy.below(0..indexes.len() as u64) as usize])
    }

    fn withdraw_or_return(&mut self, index: usize) {
        let fields = &mut self.documents[index].fields;
        if fields.remove("deletedAt").is_some() {
            fields.remove("ttl");
        } else {
            fields.insert("deletedAt".to_owned(), json!(self.at));
            fields.insert("ttl".to_owned(), json!(WITHDRAWN_TTL_SECONDS));
        }
    }

    /// The document as it is now, in its next version.
    fn written(&mut self, index: usize) -> SourceWrite {
        let Document { container, key, fields } = &mut self.documents[index];
        let version = fields["version"].as_u64().unwrap_or_default() + 1;
        fields.insert("version".to_owned(), json!(version));
        let id = fields["id"].as_str().and_then(|id| feedmill_store_api::DocumentId::new(id).ok());
        SourceWrite {
            container,
            key: key.clone(),
            id: id.expect("it was written under its id before"),
            body: Bytes::from(Value::Object(fields.clone()).to_string()),
            version,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const END: Timestamp = Timestamp::constant(1_580_515_200, 0);

    fn options() -> Options {
        Options { users: 50, follows_mean: 5, posts: 100, likes: 200, changes: 500, ..Options::default() }
    }

    fn changes(options: &Options) -> Vec<SourceWrite> {
        Network::new(options, END).changes(options, END)
    }

    #[test]
    fn the_network_is_the_same_whatever_becomes_of_it() {
        let writes = |options: &Options| Network::new(options, END).writes().collect::<Vec<_>>();
        assert_eq!(writes(&options()), writes(&Options { changes: 0, ..options() }));
        assert_eq!(changes(&options()), changes(&options()));
        assert!(changes(&Options { changes: 0, ..options() }).is_empty());
    }

    #[test]
    fn everything_happens_and_versions_only_go_up() {
        let (mut versions, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for change in changes(&options()) {
            let body: Value = serde_json::from_slice(&change.body).unwrap();
            let last = versions.insert((change.container, change.id.clone()), change.version);
            assert!(last.is_none_or(|last| last < change.version), "{body}");
            assert_eq!(body["version"], change.version);
            for field in ["deletedAt", "muted"] {
                seen.extend(body.get(field).filter(|&value| value != false).map(|_| (change.container, field)));
            }
            seen.extend((body["status"] == "hidden").then_some((change.container, "hidden")));
            seen.extend((body["type"] == "love").then_some((change.container, "love")));
            seen.insert((change.container, ""));
        }
        for expected in [
            ("posts_v2", "deletedAt"),
            ("posts_v2", "hidden"),
            ("follows", "muted"),
            ("follows", "deletedAt"),
            ("reactions", "love"),
            ("reactions", "deletedAt"),
            ("blocks", ""),
            ("publicProfiles", ""),
        ] {
            assert!(seen.contains(&expected), "{expected:?}");
        }
    }
}
