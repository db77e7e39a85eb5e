use std::fmt;

use serde::Serialize;

use crate::{ContainerSpec, DefaultTtl, IndexPath};

/// One way in which a container is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Such as `partition key`.
    pub what: &'static str,
    pub is: String,
    pub wanted: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, is, wanted } = self;
        write!(f, "the {what} is {is}, wanted is {wanted}")
    }
}

impl ContainerSpec {
    /// In what this container, which is there, is not the one that is `wanted`. The number of partitions is the store's own affair
    /// once a container is there: it splits them as they grow.
    pub fn differences(&self, wanted: &Self) -> Vec<Difference> {
        let all = [
            ("partition key", shown_key(self), shown_key(wanted)),
            ("default time to live", shown_ttl(self), shown_ttl(wanted)),
            ("set of composite indexes", shown_indexes(self), shown_indexes(wanted)),
            ("set of excluded paths", shown_paths(self), shown_paths(wanted)),
        ];
        let differ = all.into_iter().filter(|(_, is, wanted)| is != wanted);
        differ.map(|(what, is, wanted)| Difference { what, is, wanted }).collect()
    }
}

fn shown_key(spec: &ContainerSpec) -> String {
    spec.partition_key.join(", ")
}

fn shown_ttl(spec: &ContainerSpec) -> String {
    match spec.default_ttl {
        None => "off".to_owned(),
        Some(DefaultTtl::Forever) => "on without a default".to_owned(),
        Some(DefaultTtl::Seconds(seconds)) => format!("{seconds} s"),
    }
}

/// The order of the indexes means nothing; that of the paths in one does.
fn shown_indexes(spec: &ContainerSpec) -> String {
    let path = |path: &IndexPath| format!("{} {:?}", path.path, path.order);
    let index = |index: &Vec<IndexPath>| format!("({})", index.iter().map(path).collect::<Vec<_>>().join(", "));
    let mut indexes: Vec<_> = spec.composite_indexes.iter().map(index).collect();
    indexes.sort();
    format!("[{}]", indexes.join(", "))
}

fn shown_paths(spec: &ContainerSpec) -> String {
    let mut paths = spec.excluded_paths.clone();
    paths.sort();
    format!("[{}]", paths.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Order::{Ascending, Descending};

    fn wanted() -> ContainerSpec {
        ContainerSpec::new("userFeed", "/recipientId")
            .ttl(DefaultTtl::Forever)
            .composite_index(&[("/recipientId", Ascending), ("/createdAt", Descending)])
            .composite_index(&[("/createdAt", Descending), ("/postId", Ascending)])
            .exclude("/_source/*")
            .exclude("/bio/?")
    }

    fn said(there: &ContainerSpec) -> Vec<String> {
        there.differences(&wanted()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_difference_is_said_exactly() {
        let there = ContainerSpec::new("userFeed", "/userId").exclude("/_source/*");
        assert_eq!(
            said(&there),
            [
                "the partition key is /userId, wanted is /recipientId",
                "the default time to live is off, wanted is on without a default",
                "the set of composite indexes is [], wanted is [(/createdAt Descending, /postId Ascending), \
                 (/recipientId Ascending, /createdAt Descending)]",
                "the set of excluded paths is [/_source/*], wanted is [/_source/*, /bio/?]",
            ]
        );
        let there = ContainerSpec { default_ttl: Some(DefaultTtl::Seconds(90)), ..wanted() };
        assert_eq!(said(&there), ["the default time to live is 90 s, wanted is on without a default"]);
    }

    #[test]
    fn what_has_no_order_and_the_number_of_partitions_are_no_difference() {
        let mut there = wanted().partitions(8);
        there.composite_indexes.reverse();
        there.excluded_paths.reverse();
        assert_eq!(said(&there), Vec::<String>::new());
        there.composite_indexes[0].reverse();
        assert_eq!(said(&there).len(), 1, "the order of an index's paths is what it is for");
    }
}
