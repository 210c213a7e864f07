//! Datasets of every kind: records, manifests, releases, states.

use api::{
    ConfirmDeletion, CreateDataset, Dataset, DatasetId, DatasetKind, Deletion, DeliveryState, File,
    ProjectId, PutManifest, QualityState, Release, ReleaseRequest, Sealed, SignedStatement,
};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::connection::Request;
use crate::listing::with_query;
use crate::{Client, ClientError, Listing};

/// Which datasets to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct DatasetFilter {
    /// Only of this kind.
    pub kind: Option<DatasetKind>,
    /// Only of this project.
    pub project: Option<ProjectId>,
}

/// `POST /datasets/{id}/quality`.
#[derive(Serialize)]
struct SetQuality {
    state: QualityState,
}

/// `POST /datasets/{id}/delivery`.
#[derive(Serialize)]
struct SetDelivery {
    state: DeliveryState,
}

/// `GET /datasets/{id}/settings`.
#[derive(Deserialize)]
struct Settings {
    settings: Option<Sealed>,
}

impl Client {
    /// Datasets that the caller may see.
    pub fn datasets(&self, filter: DatasetFilter) -> Listing<Dataset> {
        let parts = [
            ("kind", filter.kind.map(|kind| kind.as_str().to_owned())),
            ("project", filter.project.map(|project| project.to_string())),
        ];
        Listing::new(self, with_query("/datasets", &parts))
    }

    /// Creates a dataset; the same call again gives the same dataset.
    pub async fn create_dataset(&self, create: &CreateDataset) -> Result<Dataset, ClientError> {
        self.call(Request::post("/datasets", create).repeatable()).await
    }

    /// A dataset.
    pub async fn dataset(&self, dataset: DatasetId) -> Result<Dataset, ClientError> {
        self.call(Request::get(format!("/datasets/{dataset}"))).await
    }

    /// Deletes a dataset for ever.
    pub async fn delete_dataset(
        &self,
        dataset: DatasetId,
        confirm: &ConfirmDeletion,
    ) -> Result<Deletion, ClientError> {
        self.call(Request::bare(Method::DELETE, format!("/datasets/{dataset}")).json(confirm)).await
    }

    /// The signed manifest in force: the caller checks it (`proof::Manifest`).
    pub async fn manifest(&self, dataset: DatasetId) -> Result<SignedStatement, ClientError> {
        self.call(Request::get(format!("/datasets/{dataset}/manifest"))).await
    }

    /// An earlier manifest.
    pub async fn manifest_number(
        &self,
        dataset: DatasetId,
        number: u32,
    ) -> Result<SignedStatement, ClientError> {
        self.call(Request::get(format!("/datasets/{dataset}/manifests/{number}"))).await
    }

    /// Closes a dataset with its signed manifest; the same manifest again is the same call. `demultiplex` asks the hub to
    /// queue that task, which it cannot read from a run's sealed settings.
    pub async fn put_manifest(
        &self,
        dataset: DatasetId,
        manifest: &PutManifest,
        demultiplex: bool,
    ) -> Result<Dataset, ClientError> {
        let query = if demultiplex { "?demultiplex=true" } else { "" };
        let path = format!("/datasets/{dataset}/manifest{query}");
        self.call(Request::post(path, manifest).repeatable()).await
    }

    /// Says with a signed manifest what of a run is whole while it goes on arriving. `demultiplex` as for
    /// [`Self::put_manifest`], which closes it.
    pub async fn put_manifest_so_far(
        &self,
        run: DatasetId,
        manifest: &PutManifest,
        demultiplex: bool,
    ) -> Result<Dataset, ClientError> {
        let path = format!("/datasets/{run}/manifest?more=true&demultiplex={demultiplex}");
        self.call(Request::post(path, manifest).repeatable()).await
    }

    /// Asks for the dataset key, wrapped to the named recipient.
    pub async fn release(
        &self,
        dataset: DatasetId,
        request: &ReleaseRequest,
    ) -> Result<Release, ClientError> {
        self.call(Request::post(format!("/datasets/{dataset}/release"), request).repeatable()).await
    }

    /// The files of a dataset, where its custodian lets the hub open the list.
    pub fn files(&self, dataset: DatasetId) -> Listing<File> {
        Listing::new(self, format!("/datasets/{dataset}/files"))
    }

    /// The sealed settings of a dataset.
    pub async fn settings(&self, dataset: DatasetId) -> Result<Option<Sealed>, ClientError> {
        let answer: Settings =
            self.call(Request::get(format!("/datasets/{dataset}/settings"))).await?;
        Ok(answer.settings)
    }

    /// Says what a person thinks of a dataset's quality.
    pub async fn set_quality(
        &self,
        dataset: DatasetId,
        state: QualityState,
    ) -> Result<Dataset, ClientError> {
        let path = format!("/datasets/{dataset}/quality");
        self.call(Request::post(path, &SetQuality { state }).repeatable()).await
    }

    /// Says whether a dataset was handed on.
    pub async fn set_delivery(
        &self,
        dataset: DatasetId,
        state: DeliveryState,
    ) -> Result<Dataset, ClientError> {
        let path = format!("/datasets/{dataset}/delivery");
        self.call(Request::post(path, &SetDelivery { state }).repeatable()).await
    }
}
