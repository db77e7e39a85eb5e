use feedmill_store_api::{ReadLevel, RequestCharge, limits};
use serde::{Deserialize, Serialize};

/// The cost model, in request units, calibrated to published figures. Azure's meter is not public: never claim that these
/// equal a bill. Sizes count as the square root of their kilobytes, because 100 KB are published at ten times 1 KB.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChargeOptions {
    /// Request units for a point read of 1 KB (default 1, "key-value-store-cost": 1 KB 1 RU, 100 KB 10 RU).
    pub read_base: f64,
    /// Factor for a quorum read (default 2, "optimize-cost-reads-writes").
    pub quorum_factor: f64,
    /// Request units for a write of up to 1 KB before indexing (default 4.8; with `write_indexed_value` it gives the 5.71 and
    /// 7.05 RU of "model-partition-example" exactly, and lies 9 to 12 % below its two other writes).
    pub write_base: f64,
    /// Request units for each indexed value of a written document (default 0.45, see `write_base`).
    pub write_indexed_value: f64,
    /// Factor for a replace (default 2, "optimize-cost-reads-writes"; Microsoft's in-memory emulator has 1.5).
    pub replace_factor: f64,
    /// Request units for a write that was refused, and for a read that found nothing (default 1, a choice: unpublished).
    pub refused: f64,
    /// Request units for a query in each partition it touches (default 2.8, DP-420 lab 17 has 2.83 to 3.47 RU).
    pub query_base: f64,
    /// Request units for each document that a query gives back or aggregates (default 0.14: 100 sorted documents are
    /// published at 16.97 RU; two points make the line, so it is unvalidated).
    pub query_item: f64,
    /// Request units for a page of the change feed before its items, each of which costs a point read (default 2, a
    /// comment by Microsoft at azure-docs#50040).
    pub feed_base: f64,
    /// Request units for a page of the change feed without items (default 2; unpublished, others assume 1).
    pub feed_empty: f64,
}

impl Default for ChargeOptions {
    fn default() -> Self {
        Self {
            read_base: 1.0,
            quorum_factor: 2.0,
            write_base: 4.8,
            write_indexed_value: 0.45,
            replace_factor: 2.0,
            refused: 1.0,
            query_base: 2.8,
            query_item: 0.14,
            feed_base: 2.0,
            feed_empty: 2.0,
        }
    }
}

impl ChargeOptions {
    /// A point read; `None` when there was no document.
    pub(crate) fn read(&self, bytes: Option<usize>, level: &ReadLevel) -> RequestCharge {
        let units = bytes.map_or(self.refused, |bytes| self.read_units(bytes));
        RequestCharge::new(units * self.level_factor(level))
    }

    /// Documents of one key, as who has no request for it asks for them: a few by point reads, more by one query.
    pub(crate) fn read_many<I>(&self, bytes: I, level: &ReadLevel) -> RequestCharge
    where
        I: ExactSizeIterator<Item = Option<usize>>,
    {
        if bytes.len() <= limits::POINT_READS_MAX {
            return bytes.map(|bytes| self.read(bytes, level)).sum();
        }
        self.query(1, bytes.flatten().count(), level)
    }

    pub(crate) fn create(&self, bytes: usize, indexed_values: u32) -> RequestCharge {
        RequestCharge::new(self.write_units(bytes, indexed_values))
    }

    pub(crate) fn replace(&self, bytes: usize, indexed_values: u32) -> RequestCharge {
        RequestCharge::new(self.write_units(bytes, indexed_values) * self.replace_factor)
    }

    /// As much as creating what is deleted.
    pub(crate) fn delete(&self, bytes: usize, indexed_values: u32) -> RequestCharge {
        self.create(bytes, indexed_values)
    }

    pub(crate) fn refused(&self) -> RequestCharge {
        RequestCharge::new(self.refused)
    }

    pub(crate) fn query(&self, partitions: usize, items: usize, level: &ReadLevel) -> RequestCharge {
        let units = self.query_base * partitions as f64 + self.query_item * items as f64;
        RequestCharge::new(units * self.level_factor(level))
    }

    pub(crate) fn feed_page(&self, item_bytes: impl Iterator<Item = usize>) -> RequestCharge {
        let (items, units) =
            item_bytes.fold((0, 0.0), |(items, units), bytes| (items + 1, units + self.read_units(bytes)));
        RequestCharge::new(if items == 0 { self.feed_empty } else { self.feed_base + units })
    }

    fn read_units(&self, bytes: usize) -> f64 {
        // Rounded up to a hundredth, as the service reports charges.
        (self.read_base * size_factor(bytes) * 100.0).ceil() / 100.0
    }

    fn write_units(&self, bytes: usize, indexed_values: u32) -> f64 {
        self.write_base * size_factor(bytes) + self.write_indexed_value * f64::from(indexed_values)
    }

    fn level_factor(&self, level: &ReadLevel) -> f64 {
        match level {
            ReadLevel::Session(_) => 1.0,
            ReadLevel::Quorum => self.quorum_factor,
        }
    }
}

fn size_factor(bytes: usize) -> f64 {
    (bytes as f64 / 1024.0).sqrt().max(1.0)
}

#[cfg(test)]
mod tests {
    use feedmill_store_api::SessionToken;

    use super::*;

    #[test]
    fn the_model_gives_the_figures_it_was_calibrated_to() {
        let charge = ChargeOptions::default();
        let session = ReadLevel::Session(SessionToken(String::new()));
        let check =
            |charge: RequestCharge, units: f64| assert!((charge.units() - units).abs() < 0.02, "{charge} {units}");
        check(charge.read(Some(1024), &session), 1.0);
        check(charge.read(Some(100 * 1024), &session), 10.0);
        check(charge.read(Some(100), &ReadLevel::Quorum), 2.0);
        check(charge.read_many([Some(100), None].into_iter(), &session), 2.0);
        check(charge.read_many([Some(100); 100].into_iter(), &session), 16.8);
        check(charge.read_many([None; 100].into_iter(), &session), 2.8);
        check(charge.create(200, 2), 5.71);
        check(charge.create(300, 5), 7.05);
        check(charge.replace(300, 5), 14.1);
        check(charge.query(1, 100, &session), 16.8);
        check(charge.feed_page([].into_iter()), 2.0);
        check(charge.feed_page([100, 1024].into_iter()), 4.0);
    }
}
