//! The hub as a broker needs it: nine calls of one run.

use api::{
    Acknowledged, CreateDataset, DatasetId, ErrorCode, ObjectRef, PutManifest, SealedObject,
    SignedStatement, TransferProgress,
};
use async_trait::async_trait;
use client::{Client, ClientError, ObjectBytes};

/// Why the hub did not take something, by what the broker does about it.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// It may pass: try again.
    #[error("{0}")]
    Away(String),
    /// The key, the account or the right is missing: a person must act, and the run waits.
    #[error("{sentence}")]
    Rights {
        /// The hub's sentence.
        sentence: String,
        /// What to do.
        hint: Option<String>,
    },
    /// What the hub holds is not what the manifest says: compare and try again.
    #[error("{0}")]
    Mismatch(String),
    /// The thing is in a state that does not allow it.
    #[error("{sentence}")]
    Conflict {
        /// The hub's sentence.
        sentence: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Anything else: trying again is of no use.
    #[error("{sentence}")]
    Refused {
        /// The hub's sentence.
        sentence: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl From<ClientError> for UplinkError {
    fn from(error: ClientError) -> Self {
        let (sentence, hint) = (error.to_string(), error.hint());
        match error.code() {
            _ if error.may_pass() => Self::Away(sentence),
            // The organization has taken its key away: the run keeps its place here until the key is back.
            Some(ErrorCode::KeyAway) => Self::Away(sentence),
            _ if error.is_about_rights() => Self::Rights { sentence, hint },
            Some(ErrorCode::DigestMismatch) => Self::Mismatch(sentence),
            Some(ErrorCode::Conflict) => Self::Conflict { sentence, hint },
            _ => Self::Refused { sentence, hint },
        }
    }
}

/// One run's way to a hub.
///
/// Every call may be made twice: the hub takes the same call as the same thing.
#[async_trait]
pub trait Uplink: Send + Sync {
    /// Creates the run.
    async fn create(&self, create: &CreateDataset) -> Result<(), UplinkError>;
    /// Sends an object; when this returns the hub holds it durably.
    async fn put(&self, object: &ObjectBytes) -> Result<Acknowledged, UplinkError>;
    /// Which of these the hub holds.
    async fn have(&self, objects: &[ObjectRef]) -> Result<Vec<Acknowledged>, UplinkError>;
    /// Every object of the run that the hub holds.
    async fn held(&self) -> Result<Vec<SealedObject>, UplinkError>;
    /// Closes the run.
    async fn close(&self, manifest: &PutManifest, demultiplex: bool) -> Result<(), UplinkError>;
    /// Says what is whole so far of a run that goes on.
    async fn so_far(&self, manifest: &PutManifest, demultiplex: bool) -> Result<(), UplinkError>;
    /// The manifest in force, if there is one.
    async fn manifest(&self) -> Result<Option<SignedStatement>, UplinkError>;
    /// Says that a person is needed.
    async fn attention(&self, reason: &'static str) -> Result<(), UplinkError>;
    /// Says how far the run is. What comes of it changes nothing here.
    async fn progress(&self, progress: &TransferProgress) -> Result<(), UplinkError>;
}

/// A hub over HTTPS.
#[derive(Debug, Clone)]
pub struct HubUplink {
    client: Client,
    run: DatasetId,
}

impl HubUplink {
    /// The way of `run` to the hub of `client`.
    pub const fn new(client: Client, run: DatasetId) -> Self {
        Self { client, run }
    }
}

#[async_trait]
impl Uplink for HubUplink {
    async fn create(&self, create: &CreateDataset) -> Result<(), UplinkError> {
        Ok(self.client.create_dataset(create).await.map(|_dataset| ())?)
    }

    async fn put(&self, object: &ObjectBytes) -> Result<Acknowledged, UplinkError> {
        Ok(self.client.put_object(self.run, object).await?)
    }

    async fn have(&self, objects: &[ObjectRef]) -> Result<Vec<Acknowledged>, UplinkError> {
        Ok(self.client.have(self.run, objects).await?)
    }

    async fn held(&self) -> Result<Vec<SealedObject>, UplinkError> {
        Ok(self.client.objects(self.run).all().await?)
    }

    async fn close(&self, manifest: &PutManifest, demultiplex: bool) -> Result<(), UplinkError> {
        Ok(self.client.put_manifest(self.run, manifest, demultiplex).await.map(|_dataset| ())?)
    }

    async fn so_far(&self, manifest: &PutManifest, demultiplex: bool) -> Result<(), UplinkError> {
        let put = self.client.put_manifest_so_far(self.run, manifest, demultiplex).await;
        Ok(put.map(|_dataset| ())?)
    }

    async fn manifest(&self) -> Result<Option<SignedStatement>, UplinkError> {
        match self.client.manifest(self.run).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) if error.code() == Some(ErrorCode::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn attention(&self, reason: &'static str) -> Result<(), UplinkError> {
        Ok(self.client.run_attention(self.run, reason).await.map(|_dataset| ())?)
    }

    async fn progress(&self, progress: &TransferProgress) -> Result<(), UplinkError> {
        Ok(self.client.tell_run_progress(self.run, progress).await.map(|_progress| ())?)
    }
}
