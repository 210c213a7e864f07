//! What is done with a case's document where nothing is opened: its values in normal form, what an index keeps of their keyed
//! hashes, other people's formats read into it, and FHIR written from it (`spec/cases.md`).
//!
//! No key comes in here; the crate opens no file, socket or clock and builds for the browser. Errors name
//! places (a line, a column, a member) and never repeat what stands there, because it is about people.

pub mod fhir;
pub mod import;
mod index;
mod normal;

pub use index::{
    Judgement, LEAST_BITS, MOST_BITS, Refused, Token, judge, leaks, plain_salted, values,
};
pub use normal::{Normal, normal, number, text};
