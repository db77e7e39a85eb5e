use std::path::PathBuf;

use feedmill_documents::containers::PUBLIC_PROFILES;
use feedmill_documents::id;
use feedmill_store_api::{Database, DocumentId, PageRequest, Query, ReadLevel, Scope};

use super::canonical::Canonical;
use crate::error::{Failure, Result};
use crate::store;

/// People of one page of profiles.
const PAGE_ITEMS: usize = 500;

/// Whom it is about
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Chosen {
    /// Id of one person
    user: Option<String>,

    /// File with one person's id a line
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,

    /// Everybody with a public profile, in the order of ids
    #[arg(long)]
    all: bool,
}

/// Whom it is about, and where to begin.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Who {
    #[command(flatten)]
    chosen: Chosen,

    /// Goes on behind this person, as the run before said when it was stopped
    #[arg(long, value_name = "USER")]
    after: Option<String>,
}

/// People, page by page.
pub(crate) enum People {
    Listed(std::vec::IntoIter<String>),
    /// Those of the canonical tables, behind the last one.
    Canonical {
        canonical: Canonical,
        after: Option<String>,
    },
    Profiles {
        query: Query,
        next: Option<PageRequest>,
    },
}

impl Who {
    pub(crate) fn one(user: &str) -> Self {
        let chosen = Chosen { user: Some(user.to_owned()), from_file: None, all: false };
        Self { chosen, after: None }
    }

    pub(crate) fn everybody() -> Self {
        Self { chosen: Chosen { user: None, from_file: None, all: true }, after: None }
    }

    /// With canonical tables, whoever is named must be in them: to recompute a feed of somebody whom they do not know would
    /// empty it.
    pub(crate) async fn people(&self, canonical: Option<&Canonical>) -> Result<People> {
        let listed = match &self.chosen {
            Chosen { user: Some(user), .. } => vec![user.clone()],
            Chosen { from_file: Some(file), .. } => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    let error = anyhow::Error::new(error).context(format!("read {}", file.display()));
                    Failure::failed(error, "one person's id a line, in UTF-8")
                })?;
                text.lines().map(|line| line.trim().to_owned()).filter(|user| !user.is_empty()).collect()
            }
            Chosen { .. } => {
                if let Some(canonical) = canonical {
                    return Ok(People::Canonical { canonical: canonical.clone(), after: self.after.clone() });
                }
                let query = match &self.after {
                    None => Query::new("SELECT c.id, c.userId FROM c ORDER BY c.id"),
                    Some(after) => Query::new("SELECT c.id, c.userId FROM c WHERE c.id > @after ORDER BY c.id")
                        .with("@after", in_order(after)?.as_str()),
                };
                return Ok(People::Profiles { query, next: Some(PageRequest::first(PAGE_ITEMS)) });
            }
        };
        let skipped = match &self.after {
            None => 0,
            Some(after) => listed.iter().position(|user| user == after).map(|at| at + 1).ok_or_else(|| {
                Failure::misuse(anyhow::anyhow!("{after} is not among them"), "--after names one of the people given")
            })?,
        };
        let listed: Vec<_> = listed.into_iter().skip(skipped).collect();
        if let Some(canonical) = canonical {
            canonical.know(&listed).await?;
        }
        Ok(People::Listed(listed.into_iter()))
    }
}

/// Where somebody stands in the order in which profiles are listed: an id with a character that is encoded stands elsewhere than
/// it would by itself.
fn in_order(user: &str) -> Result<DocumentId> {
    id::join([user]).map_err(|error| {
        let error = anyhow::Error::new(error).context("--after names nobody");
        Failure::misuse(error, "one person's id, as the run before said it when it was stopped")
    })
}

impl People {
    /// Some more of them; empty when there are none left.
    pub(crate) async fn next(&mut self, database: &dyn Database) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            user_id: String,
        }
        match self {
            Self::Listed(people) => Ok(people.by_ref().take(PAGE_ITEMS).collect()),
            Self::Canonical { canonical, after } => {
                let people = canonical.people(after.as_deref()).await?;
                *after = people.last().cloned().or(after.take());
                Ok(people)
            }
            Self::Profiles { query, next } => {
                let profiles = store::container(database, PUBLIC_PROFILES).await?;
                while let Some(request) = next.take() {
                    let page = profiles.query(&Scope::Container, query, &request, &ReadLevel::Quorum).await?;
                    *next = page
                        .continuation
                        .map(|continuation| PageRequest { continuation: Some(continuation), ..request });
                    let named = page.items.iter().filter_map(|item| serde_json::from_slice::<Named>(item).ok());
                    let people: Vec<_> = named.map(|named| named.user_id).collect();
                    if !people.is_empty() {
                        return Ok(people);
                    }
                }
                Ok(Vec::new())
            }
        }
    }
}
