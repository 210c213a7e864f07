//! The vault: proves what it is, receives dataset keys, runs one task in a sandbox, seals the outputs, signs a receipt.
//!
//! Demultiplexing, every app and every re-seal are tasks of a vault, whichever the custodian; only what releases the keys
//! differs. The hub relays and stores what it cannot open; a vault makes outbound connections to it and to nothing else.
//!
//! [`task`] is that work without a socket, [`app`] what an app is and how its package is checked, [`sandbox`] where its
//! program runs, [`remote`] the hub over the network.
//!
//! The feature `unattested` (on by default) lets a vault without SEV-SNP show evidence that says so. The guest binary is
//! built without it and has no other way in yet: attested evidence is missing, and the binary says that and ends.

pub mod app;
pub mod remote;
pub mod sandbox;
pub mod task;
