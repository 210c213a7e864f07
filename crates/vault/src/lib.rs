//! The vault: proves what it is, receives dataset keys, runs one task in a sandbox, seals the outputs, signs a receipt.
//!
//! Demultiplexing, every app and every re-seal are tasks of a vault, whichever the custodian; only what releases the keys
//! differs. The hub relays and stores what it cannot open; a vault makes outbound connections to it and to nothing else.
//!
//! [`task`] is that work without a socket, [`app`] what an app is and how its package is checked, [`sandbox`] where its
//! program runs, [`device`] what makes evidence in a guest, [`remote`] the hub over the network, [`staying`] how one task follows another.
//!
//! The feature `unattested` (on by default) lets a vault without SEV-SNP show evidence that says so. The guest binary is
//! built without it: it asks its device for evidence, and ends where there is none. [`memory`] is where its keys lie.

pub mod app;
pub mod device;
pub mod memory;
pub mod remote;
pub mod sandbox;
pub mod staying;
pub mod task;
