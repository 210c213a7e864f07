//! Registered apps.

use api::{App, AppId, RegisterApp};

use crate::connection::Request;
use crate::{Client, ClientError, Listing};

impl Client {
    /// The apps that the caller may launch.
    pub fn apps(&self) -> Listing<App> {
        Listing::new(self, "/apps")
    }

    /// Registers an app whose package was sent.
    pub async fn register_app(&self, register: &RegisterApp) -> Result<App, ClientError> {
        self.call(Request::post("/apps", register).repeatable()).await
    }

    /// An app.
    pub async fn app(&self, app: AppId) -> Result<App, ClientError> {
        self.call(Request::get(format!("/apps/{app}"))).await
    }
}
