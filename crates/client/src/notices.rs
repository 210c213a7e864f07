//! Notices for the caller, and mail about them.

use api::{Notice, NoticeId, NoticeMail, SetNoticeMail};
use reqwest::Method;

use crate::connection::Request;
use crate::{Client, ClientError, Listing};

impl Client {
    /// Notices for the caller, oldest first.
    pub fn notices(&self, unread: bool) -> Listing<Notice> {
        Listing::new(self, if unread { "/notices?unread=true" } else { "/notices" })
    }

    /// Marks a notice as read; again is the same.
    pub async fn read_notice(&self, notice: NoticeId) -> Result<Notice, ClientError> {
        let path = format!("/notices/{notice}/read");
        self.call(Request::bare(Method::POST, path).repeatable()).await
    }

    /// Where mail about notices goes.
    pub async fn notice_mail(&self) -> Result<NoticeMail, ClientError> {
        self.call(Request::get("/notices/mail")).await
    }

    /// Sets where it goes, or that there is none.
    pub async fn set_notice_mail(&self, set: &SetNoticeMail) -> Result<NoticeMail, ClientError> {
        self.call(Request::bare(Method::PUT, "/notices/mail").json(set)).await
    }
}
