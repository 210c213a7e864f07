//! The crate from outside: run folders in, FASTQ and reports out.

#[cfg(test)]
mod common;
#[cfg(test)]
mod folders;
#[cfg(test)]
mod follow;
#[cfg(test)]
mod generated;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod interop;
#[cfg(test)]
mod rules;
