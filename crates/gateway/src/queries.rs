use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use feedmill_clock::Clock;
use feedmill_local_store::ResumeFilter;
use feedmill_query::FanOut;
use feedmill_store_api::{PageRequest, Query, QueryPage, Scope};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::directory::ContainerEntry;
use crate::fault::Fault;
use crate::feed_scope::FeedScope;
use crate::headers::{
    CONTINUATION, INDEX_METRICS, POPULATE_INDEX_METRICS, POPULATE_QUERY_METRICS, QUERY_FEATURES, QUERY_METRICS,
};
use crate::reply::{Reply, listing};
use crate::router::Call;
use crate::{containers, databases};

/// What `GET /` says of the query engine. SDKs look whether it is there; none acts upon the numbers.
pub(crate) const ENGINE: &str = "{\"maxSqlQueryInputLength\":262144,\"maxJoinsPerSqlQuery\":10,\"maxLogicalAndPerSqlQuery\":2000,\
    \"maxLogicalOrPerSqlQuery\":2000,\"maxUdfRefPerSqlQuery\":10,\"maxInExpressionItemsCount\":16000,\
    \"queryMaxInMemorySortDocumentCount\":500,\"maxQueryRequestTimeoutFraction\":0.9,\"sqlAllowNonFiniteNumbers\":false,\
    \"sqlAllowAggregateFunctions\":true,\"sqlAllowSubQuery\":true,\"sqlAllowScalarSubQuery\":true,\"allowNewKeywords\":true,\
    \"sqlAllowLike\":true,\"sqlAllowGroupByClause\":true,\"maxSpatialQueryCells\":12,\"spatialMaxGeometryPointCount\":256,\
    \"sqlDisableOptimizationFlags\":0,\"enableSpatialIndexing\":true}";

/// Bytes of a query's text, as the service allows.
const TEXT_BYTES_MAX: usize = 512 * 1024;

/// Which indexes a query has used, or might have: nothing is said of that here.
const INDEXES_UNSAID: &str = r#"{"UtilizedIndexes":{"SingleIndexes":[],"CompositeIndexes":[]},"PotentialIndexes":{"SingleIndexes":[],"CompositeIndexes":[]}}"#;

/// Results of a page where the client leaves it to us.
const ITEMS_DEFAULT: usize = 100;

/// A query as clients write it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    query: String,
    #[serde(default)]
    parameters: Vec<Parameter>,
    resume_filter: Option<Resume>,
}

/// From where of its order on a client wants the answer of a partition.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {
    /// For each path of ORDER BY; an empty array for what is undefined.
    value: Vec<Value>,
    rid: Option<String>,
    #[serde(default)]
    exclude: bool,
}

impl Resume {
    fn filter(self) -> Result<ResumeFilter, Fault> {
        let value = |value: Value| match value {
            Value::Array(elements) if elements.is_empty() => Ok(None),
            Value::Array(_) | Value::Object(_) => {
                Err(Fault::bad_request("going on from an array or object in the order is not supported here"))
            }
            scalar => Ok(Some(scalar)),
        };
        let values = self.value.into_iter().map(value).collect::<Result<_, _>>()?;
        Ok(ResumeFilter { values, rid: self.rid, exclude: self.exclude })
    }
}

#[derive(Deserialize)]
struct Parameter {
    name: String,
    #[serde(default)]
    value: Value,
}

fn spec(call: &Call<'_>) -> Result<(Query, Option<ResumeFilter>), Fault> {
    let spec: Spec = call.json()?;
    if spec.query.len() > TEXT_BYTES_MAX {
        let bytes = spec.query.len();
        return Err(Fault::bad_request(format!("the query has {bytes} bytes, it may have {TEXT_BYTES_MAX}")));
    }
    let parameters = spec.parameters.into_iter().map(|parameter| (Cow::Owned(parameter.name), parameter.value));
    let query = Query { text: Cow::Owned(spec.query), parameters: parameters.collect() };
    Ok((query, spec.resume_filter.map(Resume::filter).transpose()?))
}

/// One page of a query over items.
pub(crate) async fn items(call: &Call<'_>, entry: &ContainerEntry) -> Result<Reply, Fault> {
    let (query, resume) = spec(call)?;
    page(call, entry, &query, resume.as_ref()).await
}

/// All items, page by page: a query that asks for nothing in particular.
pub(crate) async fn read_feed(call: &Call<'_>, entry: &ContainerEntry) -> Result<Reply, Fault> {
    page(call, entry, &Query::new("SELECT * FROM c"), None).await
}

async fn page(
    call: &Call<'_>,
    entry: &ContainerEntry,
    query: &Query,
    resume: Option<&ResumeFilter>,
) -> Result<Reply, Fault> {
    let items_max = call.asked.items_max()?.unwrap_or(ITEMS_DEFAULT);
    let continuation = call.asked.text(CONTINUATION).filter(|text| !text.is_empty()).map(str::to_owned);
    let request = PageRequest { items_max, continuation };
    let (level, began) = (call.asked.read_level(), call.clock.monotonic());
    let page = match FeedScope::asked(call, entry)? {
        FeedScope::Range(range) => {
            let name = (entry.database.as_str(), entry.container.name());
            call.directory.store.query_range(name, &range, query, (&request, resume), &level).await?
        }
        _ if resume.is_some() => {
            return Err(Fault::bad_request("only a query of one partition key range goes on from values of its order"));
        }
        FeedScope::Key(key) => entry.container.query(&Scope::Partition(key), query, &request, &level).await?,
        FeedScope::Container => entry.container.query(&Scope::Container, query, &request, &level).await?,
    };
    let QueryPage { items, continuation, charge } = page;
    let body = listing(entry.rid(), "Documents", &items);
    let mut reply = Reply::new(StatusCode::OK).body(body).charge(charge).items(items.len());
    if call.asked.is_true(POPULATE_QUERY_METRICS) {
        let milliseconds = call.clock.monotonic().since(began).as_secs_f64() * 1_000.0;
        let metrics = format!("totalExecutionTimeInMs={milliseconds:.2};outputDocumentCount={}", items.len());
        reply = reply.header(QUERY_METRICS, &metrics);
    }
    if call.asked.is_true(POPULATE_INDEX_METRICS) {
        reply = reply.header(INDEX_METRICS, &STANDARD.encode(INDEXES_UNSAID));
    }
    Ok(match continuation {
        Some(continuation) => reply.header(CONTINUATION, &continuation),
        None => reply,
    })
}

/// How a client should carry out a query over several partitions.
pub(crate) fn plan(call: &Call<'_>) -> Result<Reply, Fault> {
    let (query, _) = spec(call)?;
    let refuse = |error: feedmill_query::Error| Fault::bad_request(format!("plan {:?}: {error}", query.text));
    let select = feedmill_query::parse(&query.text).map_err(refuse)?;
    let plan = select.fan_out(query.parameters.iter().map(|(name, value)| (&**name, value))).map_err(refuse)?;
    if let Some(missing) = call.asked.text(QUERY_FEATURES).and_then(|able| missing(&plan, able)) {
        return Err(Fault::bad_request(format!("the query has {missing}, which the client cannot do")));
    }
    let body = json!({
        "partitionedQueryExecutionInfoVersion": 2,
        "queryInfo": plan,
        "queryRanges": [{"min": "", "max": "FF", "isMinInclusive": true, "isMaxInclusive": false}],
    });
    Ok(Reply::json(StatusCode::OK, &body).items(1))
}

/// What the client would have to do to put the partitions' answers together, and is not among what it says it can.
fn missing(plan: &FanOut, able: &str) -> Option<&'static str> {
    let needed = [
        ("Aggregate", !plan.aggregates.is_empty()),
        ("Distinct", plan.distinct_type != "None"),
        ("GroupBy", !plan.group_by_expressions.is_empty()),
        ("MultipleOrderBy", plan.order_by.len() > 1),
        ("OffsetAndLimit", plan.offset.is_some()),
        ("OrderBy", !plan.order_by.is_empty()),
        ("Top", plan.top.is_some()),
    ];
    let able: Vec<&str> = able.split(',').map(str::trim).collect();
    needed.into_iter().find(|(feature, is_needed)| *is_needed && !able.contains(feature)).map(|(feature, _)| feature)
}

pub(crate) fn databases(call: &Call<'_>) -> Result<Reply, Fault> {
    let all: Vec<_> =
        call.directory.databases().iter().map(|entry| databases::shown(entry).to_string().into_bytes()).collect();
    let found = over(call, &all)?;
    let count = found.len();
    Ok(Reply::new(StatusCode::OK).body(listing("", "Databases", &found)).items(count))
}

pub(crate) fn containers(call: &Call<'_>, database: &str) -> Result<Reply, Fault> {
    let database = call.directory.database(database).map_err(|fault| Fault::owner_not_found(fault.message))?;
    let all: Vec<_> =
        database.containers().iter().map(|entry| containers::shown(entry).to_string().into_bytes()).collect();
    let found = over(call, &all)?;
    let count = found.len();
    Ok(Reply::new(StatusCode::OK).body(listing(&database.rid, "DocumentCollections", &found)).items(count))
}

/// The results of the request's query over resources that are no items: few enough to look at them all.
pub(crate) fn over(call: &Call<'_>, resources: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Fault> {
    let (query, _) = spec(call)?;
    let refuse = |error: feedmill_query::Error| Fault::bad_request(format!("query {:?}: {error}", query.text));
    let select = feedmill_query::parse(&query.text).map_err(refuse)?;
    let bound = select.bind(query.parameters.iter().map(|(name, value)| (&**name, value))).map_err(refuse)?;
    let mut results = bound.accumulator();
    for resource in resources {
        let row = bound.row(resource).map_err(|error| Fault::bad_request(error.to_string()))?;
        results.push(&row);
        row.judge().map_err(refuse)?;
    }
    Ok(results.finish())
}
