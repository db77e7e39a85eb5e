use percent_encoding::percent_decode_str;

use crate::fault::Fault;

/// Longest path that any resource has: ids of 1,023 bytes, percent-encoded, three times.
const PATH_BYTES_MAX: usize = 16 * 1024;

/// What a request is about. Names may also be resource ids: the service takes either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Account,
    Databases,
    Database {
        database: String,
    },
    Containers {
        database: String,
    },
    Container {
        database: String,
        container: String,
    },
    Ranges {
        database: String,
        container: String,
    },
    Items {
        database: String,
        container: String,
    },
    Item {
        database: String,
        container: String,
        id: String,
    },
    Offers,
    Offer {
        rid: String,
    },
    /// Exists in Cosmos and never here; listings of them are empty.
    Absent {
        kind: &'static str,
    },
    /// What Cosmos has not: see `control.rs`.
    Control {
        segments: Vec<String>,
    },
}

/// Prefix of everything that Cosmos has not.
pub(crate) const CONTROL: &str = "_feedmill";

impl Resource {
    pub(crate) fn parse(path: &str) -> Result<Self, Fault> {
        if path.len() > PATH_BYTES_MAX {
            return Err(Fault::uri_too_long(format!(
                "the path has {} bytes, it may have {PATH_BYTES_MAX}",
                path.len()
            )));
        }
        // SDKs differ in leading and trailing slashes.
        let segments = path.split('/').filter(|segment| !segment.is_empty()).map(decode);
        let segments = segments.collect::<Result<Vec<_>, _>>()?;
        let words: Vec<&str> = segments.iter().map(String::as_str).collect();
        let own = |text: &str| text.to_owned();
        Ok(match words.as_slice() {
            [] => Self::Account,
            [CONTROL, rest @ ..] => Self::Control { segments: rest.iter().map(|&segment| own(segment)).collect() },
            ["dbs"] => Self::Databases,
            ["dbs", database] => Self::Database { database: own(database) },
            ["dbs", database, "colls"] => Self::Containers { database: own(database) },
            ["dbs", database, "colls", container] => {
                Self::Container { database: own(database), container: own(container) }
            }
            ["dbs", database, "colls", container, "pkranges"] => {
                Self::Ranges { database: own(database), container: own(container) }
            }
            ["dbs", database, "colls", container, "docs"] => {
                Self::Items { database: own(database), container: own(container) }
            }
            ["dbs", database, "colls", container, "docs", id] => {
                Self::Item { database: own(database), container: own(container), id: own(id) }
            }
            ["dbs", _, "colls", _, "sprocs", ..] => Self::Absent { kind: "stored procedures" },
            ["dbs", _, "colls", _, "triggers", ..] => Self::Absent { kind: "triggers" },
            ["dbs", _, "colls", _, "udfs", ..] => Self::Absent { kind: "user-defined functions" },
            ["dbs", _, "colls", _, "conflicts", ..] => Self::Absent { kind: "conflicts" },
            ["dbs", _, "users", ..] => Self::Absent { kind: "users and permissions" },
            ["dbs", _, "clientencryptionkeys", ..] => Self::Absent { kind: "client encryption keys" },
            ["offers"] => Self::Offers,
            ["offers", rid] => Self::Offer { rid: own(rid) },
            _ => return Err(Fault::not_found(format!("{path} names nothing that Cosmos has"))),
        })
    }
}

fn decode(segment: &str) -> Result<String, Fault> {
    let text = percent_decode_str(segment).decode_utf8();
    text.map(|text| text.into_owned()).map_err(|_| Fault::bad_request(format!("{segment} in the path is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources_whatever_their_slashes() {
        let (database, container) = ("d b".to_owned(), "c".to_owned());
        let item = Resource::Item { database, container, id: "a/b".to_owned() };
        assert_eq!(Resource::parse("/dbs/d%20b/colls/c/docs/a%2Fb").unwrap(), item);
        assert_eq!(Resource::parse("//dbs/d%20b/colls/c/docs/a%2Fb/").unwrap(), item);
        assert_eq!(Resource::parse("/").unwrap(), Resource::Account);
        assert_eq!(Resource::parse("").unwrap(), Resource::Account);
    }

    #[test]
    fn what_is_no_resource_is_refused() {
        for path in ["/dbs/a/b", "/docs", "/dbs/a/colls/c/docs/d/attachments", "/dbs/%FF"] {
            assert!(Resource::parse(path).is_err(), "{path}");
        }
        assert!(Resource::parse(&format!("/dbs/{}", "x".repeat(20_000))).is_err());
    }
}
