use azure_core::http::Etag;
use azure_data_cosmos::CosmosError;
use azure_data_cosmos::models::ItemResponse;
use azure_data_cosmos::options::{ItemReadOptions, ItemWriteOptions, Precondition};
use bytes::Bytes;
use feedmill_store_api::{
    BatchOutcome, Document, DocumentId, Documents, ETag, Error, ErrorKind, Operation, PageRequest, PartitionKey, Query,
    QueryPage, ReadLevel, RequestCharge, Result, Scope, Written, limits,
};
use futures::future::{BoxFuture, try_join_all};

use crate::container::{CosmosContainer, read_level, sdk_key, session};
use crate::error::{charge, charge_of, failed, write_failed};
use crate::{batch, body, query};

impl Documents for CosmosContainer {
    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>> {
        Box::pin(async move {
            if !fits_a_path(id) {
                let (mut found, charge) = query::read_many(self, key, std::slice::from_ref(id), level).await?;
                return Ok((found.pop().flatten(), charge));
            }
            let (operation, token) = read_level(level);
            let mut options = ItemReadOptions::default().with_operation_options(operation);
            options.session_token = token;
            let read = self.client.read_item(sdk_key(key)?, id.as_str(), Some(options));
            let response = match Box::pin(read).await {
                Ok(response) => response,
                Err(error) if is_absence(&error) => return Ok((None, charge_of(&error))),
                Err(error) => return Err(failed(|| format!("read {id} of {key} in {}", self.spec.name), error)),
            };
            let charge = charge(&response.diagnostics());
            let etag = etag(&response);
            let body =
                response.into_body().single().map_err(|error| failed(|| format!("read {id} of {key}"), error))?;
            let document = match etag {
                Some(etag) => Document { etag, body },
                None => document(body)?,
            };
            Ok((Some(document), charge))
        })
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        Box::pin(async move {
            if ids.len() > limits::POINT_READS_MAX {
                return query::read_many(self, key, ids, level).await;
            }
            let read = try_join_all(ids.iter().map(|id| self.read(key, id, level))).await?;
            let (documents, charges): (_, Vec<_>) = read.into_iter().unzip();
            Ok((documents, charges.into_iter().sum()))
        })
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        Box::pin(async move {
            let names_its_id = matches!(operation, Operation::Replace { .. } | Operation::Delete { .. });
            if names_its_id && !fits_a_path(operation.id()) {
                return match batch::execute(self, key, vec![operation]).await? {
                    BatchOutcome::Refused { error, .. } => Err(error),
                    BatchOutcome::Committed { mut etags, charge, session } => {
                        Ok(Written { etag: etags.pop().flatten(), charge, session })
                    }
                };
            }
            let attempted = attempted(&operation, key, &self.spec.name);
            let (response, is_delete) =
                (self.send(key, &operation).await, matches!(operation, Operation::Delete { .. }));
            let response = response?.map_err(|error| write_failed(|| attempted, error))?;
            let etag = if is_delete { None } else { etag(&response) };
            Ok(Written { etag, charge: charge(&response.diagnostics()), session: session(response.headers()) })
        })
    }

    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        Box::pin(batch::execute(self, key, operations))
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        query: &'a Query,
        page: &'a PageRequest,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<QueryPage>> {
        Box::pin(query::page(self, scope, query, page, level))
    }
}

impl CosmosContainer {
    /// Sends one write. The outer error is ours: nothing was sent.
    async fn send(
        &self,
        key: &PartitionKey,
        operation: &Operation,
    ) -> Result<std::result::Result<ItemResponse, CosmosError>> {
        let (key, client) = (sdk_key(key)?, &self.client);
        Ok(match operation {
            Operation::Create { id, body } => {
                Box::pin(client.create_item(key, id.as_str(), body::checked(id, body)?, None)).await
            }
            Operation::Upsert { id, body } => {
                Box::pin(client.upsert_item(key, id.as_str(), body::checked(id, body)?, None)).await
            }
            Operation::Replace { id, body, if_match } => {
                let body = body::checked(id, body)?;
                Box::pin(client.replace_item(key, id.as_str(), body, options(if_match.as_ref()))).await
            }
            Operation::Delete { id, if_match } => {
                Box::pin(client.delete_item(key, id.as_str(), options(if_match.as_ref()))).await
            }
        })
    }
}

/// The client loses tabs and line ends from the path of a request, and takes `.` and `..` for steps in it, so that it would ask for
/// another document than it signs for. In a query or a batch the id is part of the body.
fn fits_a_path(id: &DocumentId) -> bool {
    !id.as_str().contains(['\t', '\n', '\r']) && !matches!(id.as_str(), "." | "..")
}

fn options(if_match: Option<&ETag>) -> Option<ItemWriteOptions> {
    if_match.map(|etag| ItemWriteOptions::default().with_precondition(precondition(etag)))
}

pub(crate) fn precondition(if_match: &ETag) -> Precondition {
    Precondition::if_match(Etag::from(if_match.as_str().to_owned()))
}

fn etag(response: &ItemResponse) -> Option<ETag> {
    response.headers().etag().map(|etag| ETag::new(etag.to_string()))
}

/// No such document, as against no such container (1003) and a replica that is behind (1002).
fn is_absence(error: &CosmosError) -> bool {
    let status = error.status();
    u16::from(status) == 404 && status.sub_status().is_none_or(|sub_status| sub_status.value() == 0)
}

/// A document as queries give it, with its etag inside.
pub(crate) fn document(body: Bytes) -> Result<Document> {
    #[derive(serde::Deserialize)]
    struct Head {
        _etag: ETag,
    }
    let head: Head = serde_json::from_slice(&body)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "read a document's _etag").with_source(error))?;
    Ok(Document { etag: head._etag, body })
}

/// What is tried, for errors.
pub(crate) fn attempted(operation: &Operation, key: &PartitionKey, container: &str) -> String {
    let verb = match operation {
        Operation::Create { .. } => "create",
        Operation::Upsert { .. } => "upsert",
        Operation::Replace { .. } => "replace",
        Operation::Delete { .. } => "delete",
    };
    format!("{verb} {} of {key} in {container}", operation.id())
}
