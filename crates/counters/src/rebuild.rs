//! The counters of one subject by hand.

use std::collections::BTreeSet;
use std::sync::Arc;

use feedmill_engine::{Act, DifferenceKind, Judged, SettleError, Settler};
use feedmill_store_api::PartitionKey;

use crate::Options;
use crate::handler::stored;
use crate::measure::Measure;
use crate::opening::Opening;
use crate::recount::{Recount, Target};

/// Compares, settles or repairs the counters of a person or a post. Counting by hand is as good as counting for a change:
/// it takes the place of what is stored on the condition that nobody counts meanwhile.
///
/// Needs an [`operator`](feedmill_engine::Writer::operator) that repairs, because a count says for which change it was
/// made and not from what.
pub async fn rebuild(options: &Options, subject: &str, act: Act, settler: &Settler<'_>) -> Result<Judged, SettleError> {
    let (mut judged, key) = (Judged::default(), PartitionKey::from(subject));
    let there: BTreeSet<String> = stored(&options.container, &key, settler.reader()).await?.into_iter().collect();
    for measure in Measure::ALL.into_iter().filter(|&measure| options.keeps(measure)) {
        let container_rid = settler.reader().rid(measure.container()).await?;
        let recount = Recount {
            measure,
            container: options.container.as_str().into(),
            subject: key.clone(),
            container_rid,
            lsn: None,
        };
        let counted = recount.count(settler.reader()).await?;
        let mut names: BTreeSet<String> =
            counted.into_iter().filter(|(_, value)| *value > 0).map(|(name, _)| name).collect();
        names.extend(there.iter().filter(|name| measure.makes(name)).cloned());
        let targets = names.into_iter().map(|name| Target::new(subject, name)).collect::<Result<Vec<_>, _>>();
        let targets = targets.map_err(|error| SettleError::Invalid(error.to_string()))?;
        if act != Act::Compare && measure.counter().is_none() {
            // As a change does it: the last reaction of a type may leave it between our count and its write, and nobody
            // would know of that counter.
            let new: Vec<_> = targets.iter().filter(|target| !there.contains(&target.name)).cloned().collect();
            let (container, subject, container_rid) =
                (Arc::clone(&recount.container), key.clone(), Arc::clone(&recount.container_rid));
            settler.settle(&Opening { container, subject, container_rid }, new, None).await?;
        }
        settler.act(act, &recount, targets, &mut judged).await?;
    }
    // An absent counter is unknown, not wrong: its time to live may have taken it.
    judged.differences.retain(|_, difference| difference.kind != DifferenceKind::Missing);
    Ok(judged)
}
