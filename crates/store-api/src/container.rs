use serde::{Deserialize, Serialize};

/// A container as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerSpec {
    pub name: String,
    /// Paths such as `/postId`; more than one is a hierarchical key.
    pub partition_key: Vec<String>,
    /// `None`: nothing expires here, whatever `ttl` a document carries.
    pub default_ttl: Option<DefaultTtl>,
    pub composite_indexes: Vec<Vec<IndexPath>>,
    /// Paths left out of the index, such as `/_source/*`.
    pub excluded_paths: Vec<String>,
    /// Physical partitions to begin with, at least 1. Azure derives it from the throughput.
    pub partitions: u32,
}

/// What happens to a document that has no `ttl` of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DefaultTtl {
    /// It stays (DefaultTimeToLive −1).
    Forever,
    /// It expires this long after its last write.
    Seconds(u32),
}

/// One path of a composite index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexPath {
    /// Such as `/createdAt`.
    pub path: String,
    pub order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    Ascending,
    Descending,
}

impl ContainerSpec {
    /// One partition, nothing expires, nothing beyond the default index.
    pub fn new(name: impl Into<String>, partition_key: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partition_key: vec![partition_key.into()],
            default_ttl: None,
            composite_indexes: Vec::new(),
            excluded_paths: Vec::new(),
            partitions: 1,
        }
    }

    #[must_use]
    pub fn ttl(mut self, default: DefaultTtl) -> Self {
        self.default_ttl = Some(default);
        self
    }

    #[must_use]
    pub fn composite_index(mut self, paths: &[(&str, Order)]) -> Self {
        let paths = paths.iter().map(|&(path, order)| IndexPath { path: path.to_owned(), order });
        self.composite_indexes.push(paths.collect());
        self
    }

    #[must_use]
    pub fn exclude(mut self, path: impl Into<String>) -> Self {
        self.excluded_paths.push(path.into());
        self
    }

    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }
}
