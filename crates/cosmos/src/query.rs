use std::collections::BTreeMap;
use std::num::NonZeroU32;

use azure_data_cosmos::feed::ContinuationToken;
use azure_data_cosmos::options::{MaxItemCountHint, QueryOptions};
use azure_data_cosmos::{FeedScope, Query as SdkQuery};
use bytes::Bytes;
use feedmill_store_api::{
    Document, DocumentId, Error, ErrorKind, PageRequest, PartitionKey, Query, QueryPage, ReadLevel, RequestCharge,
    Result, Scope,
};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::container::{CosmosContainer, read_level, sdk_key};
use crate::documents::document;
use crate::error::{charge, failed};
use crate::token::is_drained;

/// Ids of one `read_many`.
const IDS_MAX: usize = 100;

/// Physical partitions that a query over all keys may visit; the client's own bound of 100 would fail large containers.
const FAN_OUT_MAX: u32 = 100_000;

pub(crate) async fn page(
    container: &CosmosContainer,
    scope: &Scope,
    query: &Query,
    page: &PageRequest,
    level: &ReadLevel,
) -> Result<QueryPage> {
    let name = &container.spec.name;
    let attempted = || match scope {
        Scope::Partition(key) => format!("query {key} in {name} with {:?}", query.text),
        Scope::Container => format!("query all of {name} with {:?}", query.text),
    };
    let scope = match scope {
        Scope::Partition(key) => FeedScope::partition(sdk_key(key)?),
        Scope::Container => FeedScope::full_container(),
    };
    let mut sdk_query = SdkQuery::from(query.text.as_ref());
    for (parameter, value) in &query.parameters {
        sdk_query = sdk_query.with_parameter(parameter.as_ref(), value).map_err(|error| failed(attempted, error))?;
    }
    let (operation, token) = read_level(level);
    let mut options = QueryOptions::default()
        .with_operation_options(operation)
        .with_max_item_count(MaxItemCountHint::Limit(items(page.items_max)));
    options.session_token = token;
    options.feed.max_fan_out = Some(FAN_OUT_MAX);
    options.feed.continuation_token = page.continuation.clone().map(ContinuationToken::from_string);
    let pages = Box::pin(container.client.query_items::<Box<RawValue>>(sdk_query, scope, Some(options))).await;
    let mut pages = pages.map_err(|error| failed(attempted, error))?.into_pages();
    let Some(read) = pages.next().await else {
        return Ok(QueryPage { items: Vec::new(), continuation: None, charge: RequestCharge::ZERO });
    };
    let read = read.map_err(|error| failed(attempted, error))?;
    let charge = charge(&read.diagnostics());
    let token = pages.to_continuation_token().map_err(|error| failed(attempted, error))?;
    let continuation = (!is_drained(token.as_str())).then(|| token.as_str().to_owned());
    let items = read.into_items().into_iter().map(|item| Bytes::from(String::from(Box::<str>::from(item)))).collect();
    Ok(QueryPage { items, continuation, charge })
}

/// Many documents of one key by a query: the protocol has no request for them, and a batch of reads fails as a whole where one of
/// them is missing.
pub(crate) async fn read_many(
    container: &CosmosContainer,
    key: &PartitionKey,
    ids: &[DocumentId],
    level: &ReadLevel,
) -> Result<(Vec<Option<Document>>, RequestCharge)> {
    #[derive(Deserialize)]
    struct Head {
        id: String,
    }
    if ids.len() > IDS_MAX {
        let text = format!("read {} documents of {key} in {}: it may be {IDS_MAX}", ids.len(), container.spec.name);
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    let names: Vec<String> = (0..ids.len()).map(|n| format!("@id{n}")).collect();
    let mut query = Query::new(format!("SELECT * FROM c WHERE c.id IN ({})", names.join(", ")));
    for (name, id) in names.into_iter().zip(ids) {
        query = query.with(name, id.as_str());
    }
    let (scope, mut request) = (Scope::Partition(key.clone()), PageRequest::first(IDS_MAX));
    let (mut found, mut charge) = (BTreeMap::new(), RequestCharge::ZERO);
    loop {
        let read = page(container, &scope, &query, &request, level).await?;
        charge += read.charge;
        for body in read.items {
            let head: Head = serde_json::from_slice(&body)
                .map_err(|error| Error::new(ErrorKind::Corrupt, "read a document's id").with_source(error))?;
            found.insert(head.id, document(body)?);
        }
        // Large documents come in several pages.
        let Some(continuation) = read.continuation else { break };
        request.continuation = Some(continuation);
    }
    Ok((ids.iter().map(|id| found.get(id.as_str()).cloned()).collect(), charge))
}

pub(crate) fn items(max: usize) -> NonZeroU32 {
    u32::try_from(max).ok().and_then(NonZeroU32::new).unwrap_or(if max == 0 {
        NonZeroU32::MIN
    } else {
        NonZeroU32::MAX
    })
}
