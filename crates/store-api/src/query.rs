use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use crate::{PartitionKey, RequestCharge};

/// Cosmos SQL with its parameters (`@name`, with the `@`).
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub text: Cow<'static, str>,
    pub parameters: Vec<(Cow<'static, str>, Value)>,
}

impl Query {
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), parameters: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }
}

/// Where a query looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Partition(PartitionKey),
    /// All partition keys, in no promised order without ORDER BY. An aggregate over them may be refused as `Invalid`, because the
    /// official client does; it is never answered in part.
    Container,
}

/// Which page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many results; a page may hold fewer, even none, and still have a continuation.
    pub items_max: usize,
    /// From the page before.
    pub continuation: Option<String>,
}

impl PageRequest {
    pub fn first(items_max: usize) -> Self {
        Self { items_max, continuation: None }
    }
}

#[derive(Clone, Debug)]
pub struct QueryPage {
    /// JSON texts.
    pub items: Vec<Bytes>,
    /// `None` after the last page.
    pub continuation: Option<String>,
    pub charge: RequestCharge,
}
