//! Sealed objects: the bytes themselves.

use std::ops::Range;

use api::{
    Acknowledged, DatasetId, Digest, EPOCH_HEADER, HaveAnswer, HaveQuery, ObjectRef, SealedObject,
    WRAPPED_KEY_HEADER,
};
use bytes::Bytes;
use data_encoding::BASE64;
use reqwest::{Method, StatusCode};

use crate::connection::Request;
use crate::{Client, ClientError, Listing};

/// A sealed object on its way to the hub.
#[derive(Debug, Clone)]
pub struct ObjectBytes {
    /// Which object.
    pub object: ObjectRef,
    /// Its sealed bytes.
    pub sealed: Bytes,
    /// Their SHA-256.
    pub hash: Digest,
    /// Its data key under the dataset key, 60 bytes.
    pub wrapped_key: Vec<u8>,
    /// The key epoch it is sealed under.
    pub epoch: u32,
}

impl Client {
    /// Sends a sealed object. When this returns, W facilities and both places of the key store hold it. The same bytes
    /// again are the same call.
    pub async fn put_object(
        &self,
        dataset: DatasetId,
        object: &ObjectBytes,
    ) -> Result<Acknowledged, ClientError> {
        let request =
            Request::bare(Method::PUT, format!("/datasets/{dataset}/objects/{}", object.object))
                .octets(object.sealed.clone(), &object.hash)
                .header(EPOCH_HEADER, object.epoch.to_string())
                .header(WRAPPED_KEY_HEADER, BASE64.encode(&object.wrapped_key));
        let answer: Acknowledged = self.call(request.clone()).await?;
        if answer.object == object.object && answer.hash == object.hash {
            Ok(answer)
        } else {
            Err(self.unreadable(&request, "it acknowledges another object".to_owned()))
        }
    }

    /// Which of these objects arrived; asks in pieces of a thousand.
    pub async fn have(
        &self,
        dataset: DatasetId,
        objects: &[ObjectRef],
    ) -> Result<Vec<Acknowledged>, ClientError> {
        let mut found = Vec::new();
        for piece in objects.chunks(1000) {
            let query = HaveQuery { objects: piece.to_vec() };
            let path = format!("/datasets/{dataset}/objects/have");
            let answer: HaveAnswer = self.call(Request::post(path, &query).repeatable()).await?;
            found.extend(answer.objects);
        }
        Ok(found)
    }

    /// The sealed objects of a dataset, with their wrapped keys.
    pub fn objects(&self, dataset: DatasetId) -> Listing<SealedObject> {
        Listing::new(self, format!("/datasets/{dataset}/objects?limit=1000"))
    }

    /// One sealed object's record.
    pub async fn object_key(
        &self,
        dataset: DatasetId,
        object: ObjectRef,
    ) -> Result<SealedObject, ClientError> {
        self.call(Request::get(format!("/datasets/{dataset}/objects/{object}/key"))).await
    }

    /// A sealed object's bytes; whoever opens them checks their hash.
    pub async fn object(
        &self,
        dataset: DatasetId,
        object: ObjectRef,
    ) -> Result<Bytes, ClientError> {
        let request = Request::get(format!("/datasets/{dataset}/objects/{object}"));
        Ok(self.send(&request).await?.body)
    }

    /// A part of a sealed object's bytes. Segments prove themselves when they are opened.
    pub async fn object_range(
        &self,
        dataset: DatasetId,
        object: ObjectRef,
        range: Range<u64>,
    ) -> Result<Bytes, ClientError> {
        let request =
            Request::get(format!("/datasets/{dataset}/objects/{object}")).range(range.clone());
        let answer = self.send(&request).await?;
        let wanted = range.end.saturating_sub(range.start);
        if answer.status == StatusCode::PARTIAL_CONTENT && answer.body.len() as u64 == wanted {
            return Ok(answer.body);
        }
        let why = format!("it has {} bytes, not the {wanted} asked for", answer.body.len());
        Err(self.unreadable(&request, why))
    }
}
