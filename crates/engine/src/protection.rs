//! The rules that the promise rests on, by name, so that the simulation can show that it notices when one is missing.
//!
//! In what ships they all hold and this is nothing. With the feature `mutants`, which only the simulation switches on, one of
//! them can be switched off for the current thread.

/// A rule that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(unreachable_pub, reason = "it is public with the feature `mutants` alone")]
pub enum Protection {
    /// Every write is conditional on the version that was read.
    WriteCondition,
    /// A target is read before its sources.
    TargetBeforeSources,
    /// Only a target that names exactly the sources just read is left alone; equal content is not enough.
    ExactSkip,
    /// Absence is written also where nothing was.
    TombstoneWhereNothingWas,
    /// Targets, and all sources but those of the changed key, are read as new as they are.
    QuorumRead,
    /// Sources of a target that is there are read as new as they are, those of the changed key too.
    FreshOverTargets,
    /// A count is left alone only for changes it was counted for; an equal value is not enough.
    AsOf,
    /// An older revision does not replace what a newer one made.
    Revision,
    /// Nothing is sent long after its target was read.
    SettleMax,
    /// Where a lease begins is stored with it, before the first delivery.
    StoredStart,
    /// A checkpoint is the page end before the first gap.
    FirstGap,
    /// The parts of a range have leases before its own is removed.
    PartsBeforeRemoval,
    /// What belongs to a person is carried over.
    PersonsFields,
    /// The time for which another stands still counts only while one's own heartbeats succeed.
    OwnHeartbeats,
    /// Who counted as dead and has a lease that was written since is back.
    BackAtWork,
    /// A refusal after a lost reply may be one's own success, and is read back.
    ReadBack,
    /// A refusal that could not be read back stays in doubt.
    LastingDoubt,
    /// Hosts that make the first leases at the same time agree on what they cover.
    AgreedRanges,
    /// A division that somebody began is completed, whatever the store's ranges are by then.
    BegunDivisions,
    /// What a host is given before it comes back it takes anew.
    TakenAnew,
    /// No delivery begins behind the deadline, however late the host is told.
    DeadlineOfDeliveries,
    /// A host that was not heard of stops before others may have its leases.
    Deadline,
}

impl Protection {
    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "with the feature it matters which one")]
    pub(crate) const fn holds(self) -> bool {
        true
    }

    #[cfg(feature = "mutants")]
    pub(crate) fn holds(self) -> bool {
        OFF.get() != Some(self)
    }

    /// Runs `work` without this protection, as far as this thread is concerned.
    #[cfg(feature = "mutants")]
    pub fn switched_off<T>(self, work: impl FnOnce() -> T) -> T {
        OFF.set(Some(self));
        let done = work();
        OFF.set(None);
        done
    }
}

#[cfg(feature = "mutants")]
thread_local! {
    static OFF: std::cell::Cell<Option<Protection>> = const { std::cell::Cell::new(None) };
}
