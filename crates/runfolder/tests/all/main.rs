//! The crate from outside: run folders in, FASTQ and reports out.

#[cfg(test)]
mod common;
#[cfg(test)]
mod generated;
