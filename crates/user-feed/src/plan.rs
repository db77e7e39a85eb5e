//! How the followers of an author are cut into chunks: values only.

use feedmill_documents::id;
use feedmill_store_api::{DocumentId, Query};

/// Followers of one author from one cut point to the next, open at both ends of the id space, so that together they are
/// all there are and all there will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) from: Option<String>,
    pub(crate) until: Option<String>,
}

/// The intervals between these cut points, which stand in order.
pub(crate) fn intervals(cuts: &[String]) -> Vec<Interval> {
    let ends = cuts.iter().cloned().map(Some).chain([None]);
    let starts = std::iter::once(None).chain(cuts.iter().cloned().map(Some));
    starts.zip(ends).map(|(from, until)| Interval { from, until }).collect()
}

/// Both, in order, each once.
pub(crate) fn merged(cuts: &[String], more: &[String]) -> Vec<String> {
    let mut cuts: Vec<String> = cuts.iter().chain(more).cloned().collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// The follower in the id of an edge, as encoded there.
pub(crate) fn follower_of(edge: &DocumentId) -> Option<&str> {
    edge.as_str().split_once(':').map(|(_, follower)| follower)
}

/// Takes every so manieth follower of a list for a cut point.
pub(crate) struct Cutter {
    every: usize,
    at_first: bool,
    seen: usize,
    cuts: Vec<String>,
}

impl Cutter {
    /// The first follower it sees is a cut point where `at_first` is set.
    pub(crate) fn new(every: usize, at_first: bool) -> Self {
        Self { every, at_first, seen: 0, cuts: Vec::new() }
    }

    pub(crate) fn see(&mut self, edge: &DocumentId) {
        let is_cut = self.seen.is_multiple_of(self.every) && (self.at_first || self.seen > 0);
        if is_cut && let Some(follower) = follower_of(edge) {
            self.cuts.push(follower.to_owned());
        }
        self.seen += 1;
    }

    pub(crate) fn cuts(self) -> Vec<String> {
        self.cuts
    }
}

impl Interval {
    /// Lists the edges of these followers in the order of their ids.
    pub(crate) fn query(&self, author: &str) -> Result<Query, id::IdError> {
        let author = id::join([author])?;
        let bound = |follower: &String| format!("{author}:{follower}");
        Ok(match (&self.from, &self.until) {
            (None, None) => Query::new("SELECT * FROM c ORDER BY c.id"),
            (Some(from), None) => {
                Query::new("SELECT * FROM c WHERE c.id >= @from ORDER BY c.id").with("@from", bound(from))
            }
            (None, Some(until)) => {
                Query::new("SELECT * FROM c WHERE c.id < @until ORDER BY c.id").with("@until", bound(until))
            }
            (Some(from), Some(until)) => {
                Query::new("SELECT * FROM c WHERE c.id >= @from AND c.id < @until ORDER BY c.id")
                    .with("@from", bound(from))
                    .with("@until", bound(until))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(cuts: &[&str]) -> Vec<String> {
        cuts.iter().map(|&cut| cut.to_owned()).collect()
    }

    #[test]
    fn intervals_leave_nobody_out_at_either_end() {
        let ends = |cuts: &[&str]| -> Vec<(Option<String>, Option<String>)> {
            intervals(&texts(cuts)).into_iter().map(|each| (each.from, each.until)).collect()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(ends(&[]), [(None, None)]);
        assert_eq!(ends(&["g", "p"]), [(None, some("g")), (some("g"), some("p")), (some("p"), None)]);
    }

    #[test]
    fn every_so_manieth_follower_is_a_cut_point() {
        let cuts = |at_first| {
            let mut cutter = Cutter::new(2, at_first);
            for follower in ["b", "c", "d%3A", "e", "f"] {
                cutter.see(&DocumentId::new(format!("a:{follower}")).unwrap());
            }
            cutter.cuts()
        };
        assert_eq!(cuts(true), ["b", "d%3A", "f"]);
        assert_eq!(cuts(false), ["d%3A", "f"]);
    }

    #[test]
    fn merged_cut_points_stand_in_order_each_once() {
        assert_eq!(merged(&texts(&["b", "d"]), &texts(&["c", "b"])), ["b", "c", "d"]);
    }
}
