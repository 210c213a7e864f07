//! `chorion notice`: what happened that you should see, and whether mail tells you so.

use api::{Notice, NoticeId, NoticeKind, SetNoticeMail};
use clap::Subcommand;

use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};

/// What can be done about notices.
#[derive(Debug, Subcommand)]
pub(crate) enum NoticeCommand {
    /// What happened, oldest first.
    List {
        /// Only what you have not marked as read.
        #[arg(long)]
        unread: bool,
    },
    /// Mark notices as read.
    Read {
        /// Their ids.
        #[arg(required_unless_present = "all")]
        notices: Vec<NoticeId>,
        /// Every one that is unread.
        #[arg(long, conflicts_with = "notices")]
        all: bool,
    },
    /// Where mail goes that says that something waits, and no more.
    Mail {
        /// Send it here from now on.
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
        /// Send none.
        #[arg(long, conflicts_with = "to")]
        off: bool,
    },
}

/// What happened, in words, and what to do about it.
const fn words(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::TransferOffered => "a project is offered to you: `chorion project transfer`",
        NoticeKind::TransferAccepted => "your project was taken over",
        NoticeKind::TransferRefused => "your offer of a project was refused",
        NoticeKind::MemberAdded => "you were made a member of a project: `chorion project show`",
        NoticeKind::MemberChanged => {
            "what you may do in a project was changed: `chorion project show`"
        }
        NoticeKind::MemberRemoved => "you are no member of a project any more",
        NoticeKind::MemberLeft => {
            "a member left a project of yours: `chorion project members list`"
        }
        NoticeKind::RoleChanged => "you have another role in your organization",
        NoticeKind::OrganizationLeft => "you belong to an organization no more",
        NoticeKind::RunFinished => "a run is finished",
        NoticeKind::RunNeedsAttention => "a run needs attention: `chorion run show`",
        NoticeKind::SessionFinished => "an app session is finished",
        NoticeKind::SessionFailed => "an app session has failed: `chorion session log`",
        NoticeKind::KeyAdded => {
            "a key was added to your account; if not by you: `chorion key revoke`"
        }
        NoticeKind::PasskeyAdded => {
            "a passkey was added to your account; if it was not you, remove it on the account page"
        }
        NoticeKind::PasswordChanged => {
            "your password was set or changed; if it was not you, `chorion account password`"
        }
        NoticeKind::SignedOn => {
            "you are signed on at an instrument; if it was not you, `chorion instrument sign-off --at`"
        }
        NoticeKind::ApprovalAsked => "something waits for your approval: `chorion approve list`",
        NoticeKind::ApprovalRefused => {
            "an owner refused what you asked for: `chorion session show` says why"
        }
        NoticeKind::KeyExpiring => "a key of yours will not count for long: `chorion key list`",
        NoticeKind::CredentialsExpiring => {
            "the credentials that ask for your organization's key will not count for long: `chorion org kms set` takes new ones"
        }
        NoticeKind::CertificateExpiring => {
            "the hub's certificate authority will not count for long"
        }
        NoticeKind::HubRestored => {
            "the hub was brought back from a backup: look whether what you did last still stands, and revoke again what you had revoked"
        }
    }
}

fn line(notice: &Notice) -> String {
    let mark = if notice.read.is_none() { "new " } else { "    " };
    format!("{}  {mark}{:.0}  {} ({})", notice.id, notice.at, words(notice.kind), notice.subject)
}

pub(crate) async fn run(command: NoticeCommand, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    match command {
        NoticeCommand::List { unread } => {
            let notices = ctx.client.notices(unread).all().await?;
            if notices.is_empty() {
                ui.line(
                    "nothing: what happens to your runs, sessions, projects and keys appears here",
                );
            }
            for notice in &notices {
                ui.line(line(notice));
            }
            ui.value(&notices);
        }
        NoticeCommand::Read { notices, all } => {
            let unread = if all { ctx.client.notices(true).all().await? } else { Vec::new() };
            let ids = notices.into_iter().chain(unread.into_iter().map(|notice| notice.id));
            let mut read = Vec::new();
            for id in ids {
                read.push(ctx.client.read_notice(id).await?);
            }
            ui.line(format!("{} notices are marked as read", read.len()));
            ui.value(&read);
        }
        NoticeCommand::Mail { to, off } => {
            let mail = if to.is_some() || off {
                ctx.client.set_notice_mail(&SetNoticeMail { address: to }).await?
            } else {
                ctx.client.notice_mail().await?
            };
            if mail.address.is_some() && !mail.offered {
                ui.value(&mail);
                return Err(CliError::new("this hub sends no mail; the address is kept")
                    .hint("its operator sets an SMTP server with `chorion serve --smtp-url`"));
            }
            ui.line(match &mail.address {
                Some(address) => format!("mail goes to {address}"),
                None => "no mail is sent: `chorion notice mail --to ADDRESS`".to_owned(),
            });
            ui.value(&mail);
        }
    }
    Ok(())
}
