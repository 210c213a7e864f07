//! The audit log: checkpoints, tiles, and what witnesses cosigned.

use api::{Cosigned, KeyId, LogState};
use bytes::Bytes;
use proof::log::TilePath;
use reqwest::Method;

use crate::connection::Request;
use crate::{Client, ClientError};

impl Client {
    /// Where the log stands. Whoever asks verifies it.
    pub async fn log_state(&self) -> Result<LogState, ClientError> {
        self.call(Request::get("/audit/log")).await
    }

    /// A tile's bytes. A wrong tile makes a proof that verifies nowhere.
    pub async fn log_tile(&self, path: TilePath) -> Result<Bytes, ClientError> {
        Ok(self.send(&Request::get(format!("/audit/log/tile/{path}"))).await?.body)
    }

    /// Hands over a checkpoint that a witness cosigned.
    pub async fn put_cosignature(&self, cosigned: &Cosigned) -> Result<Cosigned, ClientError> {
        self.call(Request::bare(Method::PUT, "/audit/log/cosignatures").json(cosigned)).await
    }

    /// The newest checkpoint that this witness cosigned.
    pub async fn cosignature(&self, witness: KeyId) -> Result<Cosigned, ClientError> {
        self.call(Request::get(format!("/audit/log/cosignatures/{witness}"))).await
    }
}
