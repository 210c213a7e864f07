//! The hub as callers meet it: through the real router, and over real TLS on loopback.

mod abuse;
mod calls;
mod cases;
mod chromium;
mod coverage;
mod datasets;
mod devices;
mod handovers;
mod hostile;
mod institution;
mod keys;
mod lasting;
mod log;
mod material;
mod notices;
mod organization_keys;
mod organizations;
mod owners;
mod pages;
mod people;
mod projects;
mod refusals;
mod smuggling;
mod start;
mod tasks;
mod tls;
