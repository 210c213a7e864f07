//! What a person shows when they sign in, verified: passkeys (Web Authentication Level 3) and ID tokens (`OpenID` Connect Core 1.0).
//!
//! Bytes and times in, decisions out: no socket, no clock, no randomness, so that every refusal is a test. What was asked
//! (challenge, origin, nonce) is an argument; that it was asked of this browser and counts once is the caller's to keep.

pub mod id_token;
pub mod passkey;
