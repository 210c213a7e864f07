//! What only this crate's tests use: a disk that fails, a facility in memory, and the suite every facility passes.

pub(crate) mod conformance;
pub(crate) mod disk;
mod faults;
pub(crate) mod memory;

/// Runs a test's future to its end on a runtime of its own.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}
