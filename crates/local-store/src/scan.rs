use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use feedmill_query::{Bound, OrderKey, Row, Select};
use feedmill_store_api::{Error, FeedRange, PageRequest, PartitionKey, Query, QueryPage, ReadLevel, Scope};
use parking_lot::Mutex;

use crate::body::Paths;
use crate::container::Core;
use crate::continuation::Continuation;
use crate::epk::bound_bytes;
use crate::error::{corrupt, invalid, unavailable};
use crate::keys::{self, Pointer, Record, Version};
use crate::plan::{Plan, plan};
use crate::read::{RENDERED_FIELDS, render};
use crate::resume::{ResumeFilter, Start, tie};
use crate::storage::{Direction, Table, View};
use crate::value::{self, Found};

/// Query texts that are kept parsed. Programs have a few dozen; more means that values were put into the text.
const PARSED_MAX: usize = 256;

/// Parsed queries by their text.
#[derive(Default)]
pub(crate) struct PlanCache(Mutex<BTreeMap<String, Arc<Select>>>);

impl PlanCache {
    fn parse(&self, text: &str) -> Result<Arc<Select>, Error> {
        if let Some(select) = self.0.lock().get(text) {
            return Ok(Arc::clone(select));
        }
        let select = feedmill_query::parse(text).map_err(|error| refuse(text, error))?;
        let select = Arc::new(select);
        let mut parsed = self.0.lock();
        if parsed.len() >= PARSED_MAX {
            parsed.clear();
        }
        parsed.insert(text.to_owned(), Arc::clone(&select));
        Ok(select)
    }
}

/// Where a query looks.
pub(crate) enum Within<'a> {
    Key(&'a PartitionKey),
    /// From this point of its order on.
    Range(&'a FeedRange, Option<&'a ResumeFilter>),
    Container,
}

impl<'a> From<&'a Scope> for Within<'a> {
    fn from(scope: &'a Scope) -> Self {
        match scope {
            Scope::Partition(key) => Self::Key(key),
            Scope::Container => Self::Container,
        }
    }
}

/// One page of a query, as the container is at this moment.
pub(crate) fn query(
    core: &Core,
    within: &Within<'_>,
    query: &Query,
    page: &PageRequest,
    level: &ReadLevel,
) -> Result<QueryPage, Error> {
    let select = core.plans.parse(&query.text)?;
    let parameters = query.parameters.iter().map(|(name, value)| (&**name, value));
    let bound = select.bind(parameters).map_err(|error| refuse(&query.text, error))?;
    let (key, partitions) = match within {
        Within::Key(key) => (Some(core.effective_key(key)?), 1),
        Within::Range(..) => (None, 1),
        Within::Container => (None, core.layout().partitions.len()),
    };
    let mut plan = plan(&core.schema, key.as_ref(), &bound);
    let mut resume = None;
    if let Within::Range(range, filter) = *within {
        resume = filter;
        // Without a key the walk is along the documents of all, which are in the order of their effective keys.
        plan.from = plan.from.max(bound_bytes(range.min()));
        plan.to = plan.to.min(bound_bytes(range.max()));
    }
    let run = Run {
        core,
        plan,
        query: &bound,
        // Most queries do not ask for the store's own fields; then they read documents as they are stored.
        wants_system_fields: RENDERED_FIELDS.iter().any(|name| bound.touches(name)),
        now_seconds: core.now_seconds(),
        items_max: page.items_max.max(1),
        resume,
    };
    let continuation = page.continuation.as_deref();
    let answer = match (bound.is_plain(), bound.order_keys()) {
        (true, _) if run.plan.ordered && resume.is_none() => run.stream(continuation),
        (true, Some(order)) => run.sort(continuation, &order),
        _ if resume.is_some() => {
            Err(invalid(format!("go on with {:?} from values of its order: not supported here", query.text)))
        }
        _ => run.gather(continuation),
    }?;
    let charge = core.charge().query(partitions, answer.charged, level);
    Ok(QueryPage { items: answer.items, continuation: answer.continuation.map(|next| next.encode()), charge })
}

fn refuse(text: &str, error: feedmill_query::Error) -> Error {
    invalid(format!("query {text:?}: {error}")).with_source(error)
}

struct Run<'a> {
    core: &'a Core,
    plan: Plan,
    query: &'a Bound,
    wants_system_fields: bool,
    now_seconds: i64,
    items_max: usize,
    resume: Option<&'a ResumeFilter>,
}

struct Answer {
    items: Vec<Bytes>,
    continuation: Option<Continuation>,
    /// Documents that cost something.
    charged: usize,
}

/// A document on the walk.
struct Step<'a> {
    /// Of the table that is walked along.
    key: &'a [u8],
    version: Version,
    record: Record<'a>,
}

impl Run<'_> {
    /// The walk has the query's order: results come as they are met.
    fn stream(&self, continuation: Option<&str>) -> Result<Answer, Error> {
        let resumed = continuation.map(|text| Continuation::decode(text, &self.plan.name)).transpose()?;
        let (mut passed, mut within) = resumed.as_ref().map_or((0, 0), |resumed| (resumed.passed, resumed.within));
        let mut last = resumed.map_or_else(Vec::new, |resumed| resumed.key);
        let window = self.window();
        let (mut items, mut bytes, mut scanned) = (Vec::new(), 0, 0);
        let mut more = false;
        let after = last.clone();
        self.walk((!after.is_empty()).then_some(&after), &mut |step| {
            let is_full =
                |items: &Vec<_>, bytes| items.len() >= self.items_max || bytes >= self.core.options.page_bytes_max;
            if is_full(&items, bytes) || scanned >= self.core.options.query_scan_items_max {
                more = true;
                return Ok(ControlFlow::Break(()));
            }
            scanned += 1;
            let mut met = 0;
            let flow = self.results(step, &mut |item| {
                if met < within {
                    met += 1;
                    return ControlFlow::Continue(());
                }
                more = is_full(&items, bytes);
                if more || passed >= window.end {
                    return ControlFlow::Break(());
                }
                if passed >= window.start {
                    bytes += item.len();
                    items.push(item);
                }
                met += 1;
                passed += 1;
                ControlFlow::Continue(())
            })?;
            if flow.is_break() {
                within = met;
                return Ok(flow);
            }
            within = 0;
            last.clear();
            last.extend_from_slice(step.key);
            Ok(if passed >= window.end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let more = more && passed < window.end;
        let continuation = more.then(|| Continuation { order: self.plan.name.clone(), passed, within, key: last });
        Ok(Answer { charged: items.len(), items, continuation })
    }

    /// No walk has the query's order: all documents are looked at for each page, of which only the page is kept.
    fn sort(&self, continuation: Option<&str>, order: &[OrderKey]) -> Result<Answer, Error> {
        const NAME: &str = "s";
        let resumed = continuation.map(|text| Continuation::decode(text, NAME)).transpose()?;
        let passed = resumed.as_ref().map_or(0, |resumed| resumed.passed);
        let window = self.window();
        let skip = usize::try_from(window.start.saturating_sub(passed)).unwrap_or(usize::MAX);
        let left = usize::try_from(window.end.saturating_sub(passed.max(window.start))).unwrap_or(usize::MAX);
        let take = self.items_max.min(left);
        let mut paths = Paths::default();
        let slots: Vec<_> = order.iter().map(|key| (paths.want(&key.path), key.descending)).collect();
        let start = self.resume.map(|resume| Start::new(resume, &slots)).transpose()?;
        let mut kept = BTreeMap::<Vec<u8>, Bytes>::new();
        let (mut matched, keep) = (0_usize, skip.saturating_add(take));
        self.walk(None, &mut |step| {
            let key = self.sort_key(step, &paths, &slots)?;
            let is_over = resumed.as_ref().is_some_and(|resumed| key < resumed.key && !resumed.key.starts_with(&key));
            let is_beyond = kept.len() >= keep && kept.last_key_value().is_none_or(|(last, _)| key > *last);
            if is_over || start.as_ref().is_some_and(|start| start.is_before(&key)) {
                return Ok(ControlFlow::Continue(()));
            }
            // Beyond the page it only matters whether there is something at all.
            if is_beyond && matched > keep {
                return Ok(ControlFlow::Continue(()));
            }
            let mut met = 0_u32;
            self.results(step, &mut |item| {
                let key = [key.as_slice(), &met.to_be_bytes()].concat();
                met += 1;
                if resumed.as_ref().is_none_or(|resumed| key > resumed.key) {
                    matched += 1;
                    kept.insert(key, item);
                    if kept.len() > keep {
                        kept.pop_last();
                    }
                }
                ControlFlow::Continue(())
            })
        })?;
        let more = matched > kept.len() && left > take;
        let passed = passed + kept.len() as u64;
        let key = kept.last_key_value().map(|(key, _)| key.clone()).unwrap_or_default();
        let items: Vec<_> = kept.into_values().skip(skip).collect();
        let continuation = more.then(|| Continuation { order: NAME.to_owned(), passed, within: 0, key });
        Ok(Answer { charged: items.len(), items, continuation })
    }

    /// Aggregates, groups and distinct values need everything at once; pages count results.
    fn gather(&self, continuation: Option<&str>) -> Result<Answer, Error> {
        const NAME: &str = "g";
        let resumed = continuation.map(|text| Continuation::decode(text, NAME)).transpose()?;
        let start = resumed.map_or(0, |resumed| usize::try_from(resumed.passed).unwrap_or(usize::MAX));
        let mut accumulator = self.query.accumulator();
        let mut charged = 0;
        self.walk(None, &mut |step| {
            charged += 1;
            let text = self.text(step);
            let row = self.query.row(&text).map_err(|error| self.damaged().with_source(error))?;
            accumulator.push(&row);
            self.judge(&row)?;
            Ok(ControlFlow::Continue(()))
        })?;
        let results = accumulator.finish();
        let more = results.len() > start.saturating_add(self.items_max);
        let items: Vec<_> = results.into_iter().skip(start).take(self.items_max).map(Bytes::from).collect();
        let passed = (start + items.len()) as u64;
        let continuation = more.then(|| Continuation { order: NAME.to_owned(), passed, within: 0, key: Vec::new() });
        Ok(Answer { items, continuation, charged })
    }

    /// Which matches are results, counted from the first.
    fn window(&self) -> std::ops::Range<u64> {
        let start = self.query.offset();
        start..self.query.limit().map_or(u64::MAX, |limit| start.saturating_add(limit))
    }

    fn text<'s>(&self, step: &Step<'s>) -> std::borrow::Cow<'s, [u8]> {
        if self.wants_system_fields {
            render(self.core, step.version, &step.record).to_vec().into()
        } else {
            step.record.body.into()
        }
    }

    /// Visits what the query makes of a document: at most one result, unless it goes over arrays.
    fn results(
        &self,
        step: &Step<'_>,
        visit: &mut dyn FnMut(Bytes) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let text = self.text(step);
        let row = self.query.row(&text).map_err(|error| self.damaged().with_source(error))?;
        let flow = if !self.query.selects_whole() {
            self.query.results(&row, &mut |text| visit(Bytes::from(text)))
        } else if self.query.matches(&row) {
            visit(render(self.core, step.version, &step.record))
        } else {
            ControlFlow::Continue(())
        };
        self.judge(&row)?;
        Ok(flow)
    }

    fn judge(&self, row: &Row<'_>) -> Result<(), Error> {
        row.judge().map_err(|error| invalid(format!("query {}: {error}", self.core.name())).with_source(error))
    }

    fn sort_key(&self, step: &Step<'_>, paths: &Paths, slots: &[(usize, bool)]) -> Result<Vec<u8>, Error> {
        let text = self.text(step);
        let text = std::str::from_utf8(&text).map_err(|error| self.damaged().with_source(error))?;
        let scan = paths.scan(text).map_err(|error| self.damaged().with_source(error))?;
        let mut key = Vec::with_capacity(64);
        for &(slot, descending) in slots {
            value::encode(scan.found.get(slot).unwrap_or(&Found::Undefined), descending, &mut key);
        }
        key.extend(tie(step.record.created.0, slots));
        Ok(key)
    }

    /// Every live document on the walk, from after `key` on, until `visit` breaks off.
    fn walk(
        &self,
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&Step<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        let (mut from, mut to) = (self.plan.from.clone(), self.plan.to.clone());
        match (after, self.plan.direction) {
            (Some(key), Direction::Forward) => from = from.max([key, &[0]].concat()),
            (Some(key), Direction::Backward) => to = to.min(key.to_vec()),
            (None, _) => {}
        }
        let view = self.core.shard.view();
        let mut cursor = view.cursor(self.plan.table, &from, &to, self.plan.direction);
        while cursor.advance().map_err(|failure| unavailable(&failure))? {
            let (key, version) = (cursor.key(), self.version(cursor.value())?);
            let Some(version) = version else { continue };
            let stored = self.stored(&*view, key, version)?;
            let record = Record::decode(&stored, self.core.schema.effective_key_bytes());
            let record = record.ok_or_else(|| self.damaged())?;
            if !record.is_live(self.now_seconds) {
                continue;
            }
            if visit(&Step { key, version, record })?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The version that an entry names; `None` when it has expired.
    fn version(&self, value: &[u8]) -> Result<Option<Version>, Error> {
        if self.plan.table == Table::Documents {
            let pointer = Pointer::decode(value).ok_or_else(|| self.damaged())?;
            return Ok(pointer.is_live(self.now_seconds).then_some(pointer.version));
        }
        let version = value.try_into().map_err(|_| self.damaged())?;
        Ok(Some(Version(u64::from_be_bytes(version))))
    }

    fn stored<'v>(&self, view: &'v dyn View, key: &[u8], version: Version) -> Result<crate::storage::Value<'v>, Error> {
        let effective_key = key.get(..self.core.schema.effective_key_bytes()).ok_or_else(|| self.damaged())?;
        let found = view.get(Table::Versions, &keys::version(self.core.buckets.of(effective_key), version));
        found.map_err(|failure| unavailable(&failure))?.ok_or_else(|| self.damaged())
    }

    fn damaged(&self) -> Error {
        corrupt(format!("query {}: an entry leads to no document that can be read", self.core.name()))
    }
}
