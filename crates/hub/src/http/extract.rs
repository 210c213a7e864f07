//! How handlers take a call apart: ids from the path, JSON from the body, words from the query. What does not parse is
//! refused with a sentence.

use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::HubError;

/// The id in a path with one.
pub(crate) struct Id<T>(pub(crate) T);

/// The ids in a path with two.
pub(crate) struct Ids<A, B>(pub(crate) A, pub(crate) B);

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

/// A JSON body about people: a refusal names the place, and never what stands there.
pub(crate) struct Private<T>(pub(crate) T);

/// A query.
pub(crate) struct Params<T>(pub(crate) T);

/// What is no id names nothing that exists.
fn id<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, HubError> {
    text.parse().map_err(|e: T::Err| HubError::new(api::ErrorCode::NotFound, e.to_string()))
}

fn path(error: &axum::extract::rejection::PathRejection) -> HubError {
    HubError::new(api::ErrorCode::NotFound, error.body_text())
}

impl<S, T> FromRequestParts<S> for Id<T>
where
    S: Send + Sync,
    T: FromStr<Err: std::fmt::Display>,
{
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HubError> {
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|e| path(&e))?;
        Ok(Self(id(&text)?))
    }
}

impl<S, A, B> FromRequestParts<S> for Ids<A, B>
where
    S: Send + Sync,
    A: FromStr<Err: std::fmt::Display>,
    B: FromStr<Err: std::fmt::Display>,
{
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HubError> {
        let Path((a, b)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|e| path(&e))?;
        Ok(Self(id(&a)?, id(&b)?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = HubError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HubError> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|e| HubError::bad_request(e.body_text()))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|e| {
            HubError::bad_request(format!("the body is not what this call takes: {e}"))
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Private<T> {
    type Rejection = HubError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HubError> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|e| HubError::bad_request(e.body_text()))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|e| {
            HubError::bad_request(format!(
                "the body is not what this call takes, at line {}, column {}",
                e.line(),
                e.column()
            ))
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HubError> {
        let Query(params) = Query::<T>::from_request_parts(parts, state)
            .await
            .map_err(|e| HubError::bad_request(e.body_text()))?;
        Ok(Self(params))
    }
}
