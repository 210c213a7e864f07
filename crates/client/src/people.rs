//! Accounts and keys.

use api::{Account, AccountId, AddKey, Enrol, Invitation, Invite, Key, KeyId, SetPassword, Whoami};
use reqwest::Method;

use crate::connection::Request;
use crate::{Client, ClientError, Listing};

impl Client {
    /// Enrols the key that signs this call against a one-time code.
    pub async fn enrol(&self, enrol: &Enrol) -> Result<Whoami, ClientError> {
        self.call(Request::post("/enrol", enrol)).await
    }

    /// Who we are to the hub, and what it says of itself.
    pub async fn whoami(&self) -> Result<Whoami, ClientError> {
        self.call(Request::get("/whoami")).await
    }

    /// All accounts (operators).
    pub fn accounts(&self) -> Listing<Account> {
        Listing::new(self, "/accounts")
    }

    /// Invites a person (operators).
    pub async fn invite(&self, invite: &Invite) -> Result<Invitation, ClientError> {
        self.call(Request::post("/accounts", invite)).await
    }

    /// Shuts an account out (operators).
    pub async fn disable_account(&self, account: AccountId) -> Result<(), ClientError> {
        let path = format!("/accounts/{account}/disable");
        self.call_empty(Request::bare(Method::POST, path).repeatable()).await
    }

    /// Sets by which name and password the caller's account signs in with a browser.
    pub async fn set_password(&self, body: &SetPassword) -> Result<(), ClientError> {
        self.call_empty(Request::bare(Method::PUT, "/account/password").json(body)).await
    }

    /// The caller's keys.
    pub fn keys(&self) -> Listing<Key> {
        Listing::new(self, "/keys")
    }

    /// One more key for the caller's account.
    pub async fn add_key(&self, add: &AddKey) -> Result<Key, ClientError> {
        self.call(Request::post("/keys", add)).await
    }

    /// Revokes a key of the caller's account.
    pub async fn revoke_key(&self, key: KeyId) -> Result<(), ClientError> {
        self.call_empty(Request::bare(Method::DELETE, format!("/keys/{key}"))).await
    }
}
