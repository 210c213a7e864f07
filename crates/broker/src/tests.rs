//! The machine under random schedules, and the whole broker against a hub in memory.

mod hub;
mod schedule;
mod whole;
