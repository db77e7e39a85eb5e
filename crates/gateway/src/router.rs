use std::sync::Arc;

use bytes::Bytes;
use feedmill_clock::{Clock, Entropy};
use feedmill_local_store::LocalStore;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::control::Control;
use crate::directory::{ContainerEntry, Directory};
use crate::fault::{Fault, sub_status};
use crate::headers::{self, Asked};
use crate::options::Options;
use crate::path::Resource;
use crate::reply::Reply;
use crate::shifted::ShiftedClock;
use crate::{
    account, auth, batches, change_feed, containers, databases, items, metrics, offers, queries, ranges, sessions,
};

/// The protocol without its transport: a request in, a response out. Clones share one store.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Directory,
    options: Options,
    clock: ShiftedClock,
    entropy: Entropy,
    control: Control,
}

/// One request, as far as it has been understood.
pub(crate) struct Call<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) control: &'a Control,
    pub(crate) clock: &'a ShiftedClock,
    pub(crate) method: &'a Method,
    pub(crate) asked: Asked<'a>,
    /// `http` or `https`.
    pub(crate) scheme: &'a str,
    pub(crate) body: Bytes,
}

impl Call<'_> {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Fault::bad_request(format!("the body is no JSON as wanted: {error}")))
    }

    fn is_query(&self) -> bool {
        let is_typed = self.asked.text("content-type").is_some_and(|kind| kind.starts_with("application/query+json"));
        is_typed || self.asked.is_true(headers::IS_QUERY)
    }
}

impl Gateway {
    /// `clock` must be the one that the store was opened with.
    pub async fn open(
        store: LocalStore,
        options: Options,
        clock: ShiftedClock,
        entropy: Entropy,
    ) -> feedmill_store_api::Result<Self> {
        let directory = Directory::open(store, Arc::new(clock.clone())).await?;
        Ok(Self { inner: Arc::new(Inner { directory, options, clock, entropy, control: Control::default() }) })
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &self.inner.clock
    }

    /// Never fails: what cannot be done is said in the response. `scheme` is `http` or `https`, as the client has it.
    pub async fn respond(&self, request: Request<Bytes>, scheme: &str) -> Response<Bytes> {
        let began = self.inner.clock.monotonic();
        let (parts, body) = request.into_parts();
        let reply = self.handle(&parts, body, scheme).await.unwrap_or_else(Reply::from);
        let mut response = reply.into_response();
        let took = self.inner.clock.monotonic().since(began);
        metrics::answered(response.status());
        let activity = Asked(&parts.headers).text(headers::ACTIVITY_ID).map(str::to_owned);
        let activity = activity.unwrap_or_else(|| self.activity_id());
        for (name, value) in [
            (headers::ACTIVITY_ID, activity.as_str()),
            ("x-ms-version", "2020-07-15"),
            ("x-ms-gatewayversion", concat!("feedmill ", env!("CARGO_PKG_VERSION"))),
            ("x-ms-serviceversion", concat!("feedmill ", env!("CARGO_PKG_VERSION"))),
            ("x-ms-schemaversion", "1.19"),
            ("x-ms-request-duration-ms", &format!("{:.3}", took.as_secs_f64() * 1_000.0)),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response.headers_mut().entry(headers::CHARGE).or_insert(HeaderValue::from_static("1.00"));
        response
    }

    async fn handle(&self, parts: &Parts, body: Bytes, scheme: &str) -> Result<Reply, Fault> {
        let inner = &*self.inner;
        let path = parts.uri.path();
        let resource = Resource::parse(path)?;
        auth::check(&inner.options.key, &parts.method, path, &parts.headers, inner.clock.unshifted())?;
        let call = Call {
            directory: &inner.directory,
            control: &inner.control,
            clock: &inner.clock,
            method: &parts.method,
            asked: Asked(&parts.headers),
            scheme,
            body,
        };
        inner.control.intervene(&resource)?;
        route(&call, resource).await
    }

    /// Any, where the client sent none.
    fn activity_id(&self) -> String {
        let (high, low) = (self.inner.entropy.next_u64(), self.inner.entropy.next_u64());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xFFFF,
            high & 0xFFF,
            low >> 52,
            low & 0xFFFF_FFFF_FFFF
        )
    }
}

async fn route(call: &Call<'_>, resource: Resource) -> Result<Reply, Fault> {
    let get = call.method == Method::GET;
    let (post, put, delete) = (call.method == Method::POST, call.method == Method::PUT, call.method == Method::DELETE);
    match resource {
        Resource::Account if get => Ok(account::read(call)),
        Resource::Databases if get => Ok(databases::list(call)),
        Resource::Databases if post && call.is_query() => queries::databases(call),
        Resource::Databases if post => databases::create(call).await,
        Resource::Database { database } if get => databases::read(call, &database),
        Resource::Database { database } if delete => databases::remove(call, &database).await,
        Resource::Containers { database } if get => containers::list(call, &database),
        Resource::Containers { database } if post && call.is_query() => queries::containers(call, &database),
        Resource::Containers { database } if post => containers::create(call, &database).await,
        Resource::Container { database, container } => {
            let entry = entry(call, &database, &container)?;
            match *call.method {
                Method::GET => Ok(containers::read(&entry)),
                Method::PUT => containers::replace(call, &entry).await,
                Method::DELETE => containers::remove(call, &entry).await,
                _ => Err(not_allowed(call)),
            }
        }
        Resource::Ranges { database, container } if get => ranges::list(call, &*entry(call, &database, &container)?),
        Resource::Items { database, container } => {
            let entry = entry(call, &database, &container)?;
            let session = sessions::begin(call, &entry)?;
            sessions::finish(all_items(call, &entry).await, &session)
        }
        Resource::Item { database, container, id } => {
            let entry = entry(call, &database, &container)?;
            let session = sessions::begin(call, &entry)?;
            sessions::finish(one_item(call, &entry, &id).await, &session)
        }
        Resource::Offers if get || post => offers::list(call),
        Resource::Offer { rid } if get => offers::read(call, &rid),
        Resource::Offer { rid } if put => offers::replace(call, &rid).await,
        Resource::Absent { kind } => Err(Fault::not_implemented(format!("{kind} are not supported here"))),
        Resource::Control { segments } => call.control.carry_out(call, &segments).await,
        _ => Err(not_allowed(call)),
    }
}

async fn all_items(call: &Call<'_>, entry: &ContainerEntry) -> Result<Reply, Fault> {
    let is = |name| call.asked.is_true(name);
    match *call.method {
        Method::GET if call.asked.text(headers::A_IM).is_some() => change_feed::read(call, entry).await,
        Method::GET => queries::read_feed(call, entry).await,
        Method::POST if is(headers::IS_QUERY_PLAN) => queries::plan(call),
        Method::POST if is(headers::IS_BATCH) => batches::write(call, entry).await,
        Method::POST if call.is_query() => queries::items(call, entry).await,
        Method::POST => items::create(call, entry, is(headers::IS_UPSERT)).await,
        _ => Err(not_allowed(call)),
    }
}

async fn one_item(call: &Call<'_>, entry: &ContainerEntry, id: &str) -> Result<Reply, Fault> {
    match *call.method {
        Method::GET => items::read(call, entry, id).await,
        Method::PUT => items::replace(call, entry, id).await,
        Method::PATCH => items::patch(call, entry, id).await,
        Method::DELETE => items::remove(call, entry, id).await,
        _ => Err(not_allowed(call)),
    }
}

fn not_allowed(call: &Call<'_>) -> Fault {
    Fault::method_not_allowed(format!("{} is nothing that can be done here", call.method))
}

/// The container, when it is still the one that the client has in mind.
fn entry(call: &Call<'_>, database: &str, container: &str) -> Result<Arc<ContainerEntry>, Fault> {
    let entry = call.directory.container(database, container)?;
    match call.asked.text(headers::INTENDED_RID) {
        Some(intended) if intended != entry.rid() => {
            let text = format!("the container {container} is {} by now, the client has known {intended}", entry.rid());
            Err(Fault::new(StatusCode::BAD_REQUEST, "BadRequest", text).sub(sub_status::CONTAINER_RECREATED))
        }
        _ => Ok(entry),
    }
}

#[cfg(test)]
mod malformed;
#[cfg(test)]
pub(crate) mod tests;
