//! The Cosmos SQL subset: parse and evaluate, without I/O.
//!
//! [`parse`] turns text into a [`Select`], [`Select::bind`] puts the parameters in, and the [`Bound`] query then judges one
//! document at a time: [`Bound::row`] reads the top-level properties the query touches and nothing else. What is not in the
//! subset (subqueries in place of the container, user-defined functions, bit operators) is refused by name and position: an
//! answer is never wrong, only missing. Which index to use, and how to page, is the store's business; it asks
//! [`Bound::order_keys`] and [`Bound::interval`].
//!
//! Read `ast.rs` first, then `bound.rs`.

mod accumulate;
mod aggregate;
mod ast;
mod bound;
mod error;
mod eval;
mod expand;
mod expression;
mod fan_out;
mod from;
mod functions;
mod grouping;
mod interval;
mod like;
mod parser;
mod print;
mod row;
mod token;
mod value;

pub use accumulate::Accumulator;
pub use ast::{OrderKey, Select};
pub use bound::Bound;
pub use error::{Error, Place};
pub use fan_out::FanOut;
pub use interval::{Edge, Interval};
pub use parser::parse;
pub use row::Row;
pub use value::{SortKey, compare};
