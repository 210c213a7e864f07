//! Apps: what is registered, and what a launch may ask for.

use serde::{Deserialize, Serialize};

use crate::{AccountId, AppId, DatasetId, Digest, Time};

/// An app at one version. Its package is a dataset of kind `app`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// The name in its manifest.
    pub name: String,
    /// The version in its manifest.
    pub version: String,
    /// What it does, in one line.
    pub title: String,
    /// The SHA-256 over manifest and every file of its root: what a vault checks before it starts.
    pub digest: Digest,
    /// The dataset that holds its package.
    pub package: DatasetId,
    /// Its manifest: canonical JSON, from which forms are made.
    pub manifest: String,
    /// Who registered it.
    pub owner: AccountId,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
}

/// `POST /apps`: registers a package that was sent as a dataset of kind `app`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterApp {
    /// The id, chosen by the caller.
    pub id: AppId,
    /// The name in its manifest.
    pub name: String,
    /// The version in its manifest.
    pub version: String,
    /// What it does, in one line.
    pub title: String,
    /// The digest over manifest and root.
    pub digest: Digest,
    /// The dataset that holds the package, complete.
    pub package: DatasetId,
    /// The manifest as canonical JSON.
    pub manifest: String,
}
