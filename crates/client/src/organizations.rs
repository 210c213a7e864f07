//! Organizations, and what their auditors read.

use api::{
    AccountId, AuditedAccount, AuditedKey, AuditedProject, AuditedRight, CreateOrganization, Event,
    Invitation, InviteMember, KeyTest, LeaveOrganizationKey, Organization, OrganizationCustody,
    OrganizationId, OrganizationKeyStatus, OrganizationMember, PermissionTable, RecoveryCopy,
    RecoveryStored, RotateOrganizationKey, Rotation, SetOrganizationKey, SetPlan, SetRole,
    TestOrganizationKey, Time,
};
use reqwest::Method;

use crate::connection::Request;
use crate::listing::with_query;
use crate::{Client, ClientError, Listing};

impl Client {
    /// The caller's organization; all of them for operators.
    pub fn organizations(&self) -> Listing<Organization> {
        Listing::new(self, "/organizations")
    }

    /// Makes an organization (operators).
    pub async fn create_organization(
        &self,
        create: &CreateOrganization,
    ) -> Result<Organization, ClientError> {
        self.call(Request::post("/organizations", create)).await
    }

    /// One organization.
    pub async fn organization(&self, id: OrganizationId) -> Result<Organization, ClientError> {
        self.call(Request::get(format!("/organizations/{id}"))).await
    }

    /// Changes its plan (operators).
    pub async fn set_plan(
        &self,
        id: OrganizationId,
        set: &SetPlan,
    ) -> Result<Organization, ClientError> {
        let path = format!("/organizations/{id}/plan");
        self.call(Request::bare(Method::PUT, path).json(set).repeatable()).await
    }

    /// Its accounts.
    pub fn organization_members(&self, id: OrganizationId) -> Listing<OrganizationMember> {
        Listing::new(self, format!("/organizations/{id}/members"))
    }

    /// Makes an account of it.
    pub async fn invite_member(
        &self,
        id: OrganizationId,
        invite: &InviteMember,
    ) -> Result<Invitation, ClientError> {
        self.call(Request::post(format!("/organizations/{id}/members"), invite)).await
    }

    /// Gives an account another role there.
    pub async fn set_role(
        &self,
        id: OrganizationId,
        account: AccountId,
        set: &SetRole,
    ) -> Result<OrganizationMember, ClientError> {
        let path = format!("/organizations/{id}/members/{account}");
        self.call(Request::bare(Method::PUT, path).json(set).repeatable()).await
    }

    /// Disables an account of it.
    pub async fn disable_member(
        &self,
        id: OrganizationId,
        account: AccountId,
    ) -> Result<OrganizationMember, ClientError> {
        let path = format!("/organizations/{id}/members/{account}/disable");
        self.call(Request::bare(Method::POST, path).repeatable()).await
    }

    /// Takes an account out of it and out of its projects.
    pub async fn remove_organization_member(
        &self,
        id: OrganizationId,
        account: AccountId,
    ) -> Result<OrganizationMember, ClientError> {
        let path = format!("/organizations/{id}/members/{account}");
        self.call(Request::bare(Method::DELETE, path)).await
    }

    /// What was done in it, from one moment on and before another.
    pub fn organization_events(
        &self,
        id: OrganizationId,
        from: Option<Time>,
        to: Option<Time>,
    ) -> Listing<Event> {
        let moment = |time: Option<Time>| time.map(|time| time.to_string());
        let path = format!("/organizations/{id}/events");
        Listing::new(self, with_query(&path, &[("from", moment(from)), ("to", moment(to))]))
    }

    /// Its accounts and when each was last used.
    pub fn audited_accounts(&self, id: OrganizationId) -> Listing<AuditedAccount> {
        Listing::new(self, format!("/organizations/{id}/accounts"))
    }

    /// The keys that sign for its accounts.
    pub fn audited_keys(&self, id: OrganizationId) -> Listing<AuditedKey> {
        Listing::new(self, format!("/organizations/{id}/keys"))
    }

    /// Its projects, without their names.
    pub fn audited_projects(&self, id: OrganizationId) -> Listing<AuditedProject> {
        Listing::new(self, format!("/organizations/{id}/projects"))
    }

    /// Who may do what in its projects.
    pub fn audited_rights(&self, id: OrganizationId) -> Listing<AuditedRight> {
        Listing::new(self, format!("/organizations/{id}/rights"))
    }

    /// How its keys are held.
    pub async fn organization_custody(
        &self,
        id: OrganizationId,
    ) -> Result<OrganizationCustody, ClientError> {
        self.call(Request::get(format!("/organizations/{id}/custody"))).await
    }

    /// How the key stands that it holds itself.
    pub async fn organization_key(
        &self,
        id: OrganizationId,
    ) -> Result<OrganizationKeyStatus, ClientError> {
        self.call(Request::get(format!("/organizations/{id}/key"))).await
    }

    /// Tests a key and takes it in use.
    pub async fn set_organization_key(
        &self,
        id: OrganizationId,
        set: &SetOrganizationKey,
    ) -> Result<KeyTest, ClientError> {
        let path = format!("/organizations/{id}/key");
        self.call(Request::bare(Method::PUT, path).json(set)).await
    }

    /// Tests a key, and changes nothing.
    pub async fn test_organization_key(
        &self,
        id: OrganizationId,
        test: &TestOrganizationKey,
    ) -> Result<KeyTest, ClientError> {
        self.call(Request::post(format!("/organizations/{id}/key/test"), test)).await
    }

    /// Begins a rotation.
    pub async fn rotate_organization_key(
        &self,
        id: OrganizationId,
        rotate: &RotateOrganizationKey,
    ) -> Result<Rotation, ClientError> {
        self.call(Request::post(format!("/organizations/{id}/key/rotate"), rotate)).await
    }

    /// Leaves the customer's key.
    pub async fn leave_organization_key(
        &self,
        id: OrganizationId,
        leave: &LeaveOrganizationKey,
    ) -> Result<Rotation, ClientError> {
        self.call(Request::post(format!("/organizations/{id}/key/leave"), leave)).await
    }

    /// Uses the key once, as a read would.
    pub async fn use_organization_key(&self, id: OrganizationId) -> Result<(), ClientError> {
        let path = format!("/organizations/{id}/key/use");
        self.call_empty(Request::bare(Method::POST, path).repeatable()).await
    }

    /// The recovery copy of what its key opens.
    pub async fn organization_recovery(
        &self,
        id: OrganizationId,
    ) -> Result<RecoveryCopy, ClientError> {
        self.call(Request::get(format!("/organizations/{id}/key/recovery"))).await
    }

    /// Says that the recovery copy is stored.
    pub async fn organization_recovery_stored(
        &self,
        id: OrganizationId,
        stored: &RecoveryStored,
    ) -> Result<(), ClientError> {
        let path = format!("/organizations/{id}/key/recovery/stored");
        self.call_empty(Request::post(path, stored)).await
    }

    /// The table of who may do what.
    pub async fn permissions(&self) -> Result<PermissionTable, ClientError> {
        self.call(Request::get("/permissions")).await
    }
}
