use std::sync::Arc;

use feedmill_documents::containers;
use feedmill_documents::notification::Kind;
use feedmill_engine::{Handler, Processor, StartFrom};

use crate::Options;
use crate::blocks::BlockHandler;
use crate::causes::CauseHandler;
use crate::posts::PostHandler;

/// Name of the processors.
pub const NAME: &str = "notifications";

/// One processor for each source, all of one name.
pub fn processors(options: &Options, start: StartFrom) -> Vec<Processor> {
    let causes = [Kind::Reaction, Kind::Reply, Kind::Follow].map(|kind| {
        let handler: Arc<dyn Handler> = Arc::new(CauseHandler { kind, options: options.clone() });
        (container(kind), handler)
    });
    let posts: Arc<dyn Handler> = Arc::new(PostHandler { options: options.clone() });
    let blocks: Arc<dyn Handler> = Arc::new(BlockHandler { options: options.clone() });
    let others = [(containers::POSTS, posts), (containers::BLOCKS, blocks)];
    let processor = |(source, handler): (&str, _)| Processor {
        name: NAME.to_owned(),
        source: source.to_owned(),
        start,
        handler,
        gather: false,
        ranges_min: 1,
    };
    causes.into_iter().chain(others).map(processor).collect()
}

/// Where the causes of this kind are.
pub(crate) fn container(kind: Kind) -> &'static str {
    match kind {
        Kind::Reaction => containers::REACTIONS,
        Kind::Reply => containers::POST_REPLIES,
        Kind::Follow => containers::FOLLOWS,
    }
}
