//! Device codes, instruments, and who is signed on at them.

use api::{
    ApproveDevice, BeginDevice, DeviceCode, DevicePending, DeviceStanding, EnrolInstrument,
    Instrument, InstrumentId, InstrumentInvitation, NameDevice, PollDevice, Shift, SignOn,
};
use reqwest::Method;

use crate::connection::Request;
use crate::{Client, ClientError, Listing};

impl Client {
    /// Asks that the key which signs this call be approved by a person.
    pub async fn begin_device(&self, begin: &BeginDevice) -> Result<DeviceCode, ClientError> {
        self.call(Request::post("/device", begin)).await
    }

    /// Whether a person has answered.
    pub async fn poll_device(&self, poll: &PollDevice) -> Result<DeviceStanding, ClientError> {
        self.call(Request::post("/device/poll", poll).repeatable()).await
    }

    /// What the request of a code asks.
    pub async fn pending_device(&self, name: &NameDevice) -> Result<DevicePending, ClientError> {
        self.call(Request::post("/device/pending", name).repeatable()).await
    }

    /// Approves it.
    pub async fn approve_device(
        &self,
        approve: &ApproveDevice,
    ) -> Result<DevicePending, ClientError> {
        self.call(Request::post("/device/approve", approve)).await
    }

    /// Refuses it.
    pub async fn refuse_device(&self, name: &NameDevice) -> Result<(), ClientError> {
        self.call_empty(Request::post("/device/refuse", name)).await
    }

    /// All instruments (operators).
    pub fn instruments(&self) -> Listing<Instrument> {
        Listing::new(self, "/instruments")
    }

    /// Makes an instrument and the one-time code for its key (operators).
    pub async fn enrol_instrument(
        &self,
        enrol: &EnrolInstrument,
    ) -> Result<InstrumentInvitation, ClientError> {
        self.call(Request::post("/instruments", enrol)).await
    }

    /// Revokes an instrument (operators).
    pub async fn revoke_instrument(&self, id: InstrumentId) -> Result<Instrument, ClientError> {
        self.call(Request::bare(Method::DELETE, format!("/instruments/{id}"))).await
    }

    /// In whose name this instrument sends.
    pub async fn signed_on(&self) -> Result<SignOn, ClientError> {
        self.call(Request::get("/sign-on")).await
    }

    /// Asks for a technician.
    pub async fn sign_on(&self) -> Result<DeviceCode, ClientError> {
        self.call(Request::bare(Method::POST, "/sign-on").repeatable()).await
    }

    /// Signs the technician off.
    pub async fn sign_off(&self) -> Result<SignOn, ClientError> {
        self.call(Request::bare(Method::DELETE, "/sign-on")).await
    }

    /// The instruments at which you are signed on.
    pub fn shifts(&self) -> Listing<Shift> {
        Listing::new(self, "/sign-ons")
    }

    /// Signs you off at an instrument, from elsewhere.
    pub async fn end_shift(&self, id: InstrumentId) -> Result<Shift, ClientError> {
        self.call(Request::bare(Method::DELETE, format!("/sign-ons/{id}"))).await
    }
}
