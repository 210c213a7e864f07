//! Cases, and the fields of theirs that are searchable.

use api::{
    AddCases, AddedCases, AuditedRead, Case, CaseId, CaseRules, ConcludeCase, ConfirmDeletion,
    DatasetId, FieldIndex, FoundCases, OpenedCase, OrganizationId, ProjectId, ReadCase,
    SearchCases, SearchField, SetField, Time, UpdateCase,
};
use reqwest::Method;

use crate::connection::Request;
use crate::listing::with_query;
use crate::{Client, ClientError, Listing};

impl Client {
    /// Adds cases: all or none. The same call again adds nothing.
    pub async fn add_cases(
        &self,
        project: ProjectId,
        add: &AddCases,
    ) -> Result<AddedCases, ClientError> {
        self.call(Request::post(format!("/projects/{project}/cases"), add).repeatable()).await
    }

    /// Cases of a project as they stand in clear.
    pub fn cases(&self, project: ProjectId) -> Listing<Case> {
        Listing::new(self, format!("/projects/{project}/cases"))
    }

    /// One case as it stands in clear.
    pub async fn case(&self, id: CaseId) -> Result<Case, ClientError> {
        self.call(Request::get(format!("/cases/{id}"))).await
    }

    /// Reads fields of a case, which leaves an event.
    pub async fn read_case(&self, id: CaseId, read: &ReadCase) -> Result<OpenedCase, ClientError> {
        self.call(Request::post(format!("/cases/{id}/read"), read).repeatable()).await
    }

    /// Cases whose field has this value.
    pub async fn search_cases(
        &self,
        project: ProjectId,
        search: &SearchCases,
    ) -> Result<FoundCases, ClientError> {
        self.call(Request::post(format!("/projects/{project}/cases/search"), search).repeatable())
            .await
    }

    /// Replaces the document.
    pub async fn update_case(&self, id: CaseId, update: &UpdateCase) -> Result<Case, ClientError> {
        self.call(Request::bare(Method::PUT, format!("/cases/{id}")).json(update)).await
    }

    /// Writes the conclusion.
    pub async fn conclude_case(
        &self,
        id: CaseId,
        conclude: &ConcludeCase,
    ) -> Result<Case, ClientError> {
        self.call(Request::post(format!("/cases/{id}/conclusion"), conclude)).await
    }

    /// Closes a case.
    pub async fn close_case(&self, id: CaseId) -> Result<Case, ClientError> {
        self.call(Request::bare(Method::POST, format!("/cases/{id}/close")).repeatable()).await
    }

    /// Links a sample or result.
    pub async fn link_case(&self, id: CaseId, dataset: DatasetId) -> Result<Case, ClientError> {
        let path = format!("/cases/{id}/datasets/{dataset}");
        self.call(Request::bare(Method::PUT, path).repeatable()).await
    }

    /// Takes the link away.
    pub async fn unlink_case(&self, id: CaseId, dataset: DatasetId) -> Result<Case, ClientError> {
        let path = format!("/cases/{id}/datasets/{dataset}");
        self.call(Request::bare(Method::DELETE, path).repeatable()).await
    }

    /// Deletes a case for ever.
    pub async fn delete_case(&self, id: CaseId) -> Result<Case, ClientError> {
        let confirm = ConfirmDeletion { confirm: id.to_string(), approval: None };
        self.call(Request::bare(Method::DELETE, format!("/cases/{id}")).json(&confirm)).await
    }

    /// Versions of the indexes of an organization's searchable fields.
    pub async fn fields(&self, id: OrganizationId) -> Result<Vec<FieldIndex>, ClientError> {
        self.call(Request::get(format!("/organizations/{id}/fields"))).await
    }

    /// Turns a field on, or begins the next version of its index.
    pub async fn set_field(
        &self,
        id: OrganizationId,
        field: SearchField,
        set: &SetField,
    ) -> Result<FieldIndex, ClientError> {
        let path = format!("/organizations/{id}/fields/{}", field.as_str());
        self.call(Request::bare(Method::PUT, path).json(set)).await
    }

    /// Turns a field off.
    pub async fn end_field(
        &self,
        id: OrganizationId,
        field: SearchField,
    ) -> Result<Vec<FieldIndex>, ClientError> {
        let path = format!("/organizations/{id}/fields/{}", field.as_str());
        self.call(Request::bare(Method::DELETE, path).repeatable()).await
    }

    /// What an organization wants of its cases.
    pub async fn case_rules(&self, id: OrganizationId) -> Result<CaseRules, ClientError> {
        self.call(Request::get(format!("/organizations/{id}/case-rules"))).await
    }

    /// Changes that.
    pub async fn set_case_rules(
        &self,
        id: OrganizationId,
        rules: &CaseRules,
    ) -> Result<CaseRules, ClientError> {
        let path = format!("/organizations/{id}/case-rules");
        self.call(Request::bare(Method::PUT, path).json(rules).repeatable()).await
    }

    /// Who read which fields of which case, and why.
    pub fn case_reads(
        &self,
        id: OrganizationId,
        from: Option<Time>,
        to: Option<Time>,
    ) -> Listing<AuditedRead> {
        let moment = |time: Option<Time>| time.map(|time| time.to_string());
        let path = format!("/organizations/{id}/case-reads");
        Listing::new(self, with_query(&path, &[("from", moment(from)), ("to", moment(to))]))
    }
}
