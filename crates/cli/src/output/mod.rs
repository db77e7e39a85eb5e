//! What commands print: data on stdout, talk on stderr.

mod json;
mod summary;
mod table;
mod text;

pub(crate) use json::Lines;
pub(crate) use summary::{costs, ranges, summary_line};
pub(crate) use table::Table;
pub(crate) use text::excerpt;
