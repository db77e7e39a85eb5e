use std::sync::Arc;

use feedmill_documents::containers;
use feedmill_engine::{Handler, Processor, StartFrom};

use crate::back_fill::BackFill;
use crate::chunk::ChunkHandler;
use crate::fan_out::FanOut;
use crate::{Options, UserFeed};

/// Name of the processors of `userFeed`.
const NAME: &str = "user-feed";

/// Parts of `fanOut`, which has one partition, that hosts share: more than there are hosts, so that chunks come to all of them.
const WORK_RANGES: usize = 32;

/// Name of the processors.
pub fn name(options: &Options) -> String {
    containers::processor_of(&options.container, containers::USER_FEED, NAME)
}

/// One processor for each source, all of one name.
pub fn processors(options: &Options, start: StartFrom) -> Vec<Processor> {
    let projection = UserFeed::new(options.clone());
    let work = options.work();
    let handlers: [(&str, Arc<dyn Handler>); 4] = [
        (containers::AUTHOR_POSTS, Arc::new(FanOut::new(projection.clone()))),
        (containers::FOLLOWS, Arc::new(BackFill::new(projection.clone()))),
        (containers::BLOCKS, Arc::new(BackFill::new(projection.clone()))),
        (&work, Arc::new(ChunkHandler::new(projection))),
    ];
    let processor = |(source, handler): (&str, _)| Processor {
        name: name(options),
        source: source.to_owned(),
        start,
        handler,
        gather: false,
        ranges_min: if source == work { WORK_RANGES } else { 1 },
    };
    handlers.into_iter().map(processor).collect()
}
