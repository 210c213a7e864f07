//! Who calls, and what that caller may do.

use std::fmt;

use api::{
    AccountId, Belongs, ErrorCode, InstrumentId, Key, KeyKind, Outcome, ProjectId, RequestId,
    Right, Role, TaskId, Time,
};
use proof::PublicKey;
use uuid::Uuid;

use crate::HubError;
use crate::data::events::NewEvent;
use crate::data::members::Viewer;
use crate::data::seen::Seen;
use crate::policy::{Action, Actor, Standing, Verdict, allow};

/// Who signed the call.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    /// A key of an account.
    Account {
        /// The account.
        account: api::Account,
        /// The key.
        key: Key,
    },
    /// The key of an enrolled instrument.
    Instrument {
        /// The instrument.
        id: InstrumentId,
        /// The account that stands for it, which is a member of nothing.
        account: api::Account,
        /// The key.
        key: Key,
        /// Who is signed on there now.
        technician: Option<AccountId>,
    },
    /// A person in a signed-in browser: no key, and everything that a person's key may.
    Browser {
        /// The account.
        account: api::Account,
        /// The session, as pages call it.
        browser: Uuid,
    },
    /// The receipt key of a vault, known for its task alone.
    Vault {
        /// The task.
        task: TaskId,
        /// On whose behalf it runs.
        owner: AccountId,
        /// The key.
        key: PublicKey,
    },
}

/// A caller whose signature was verified.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Who it is.
    pub(crate) who: Who,
    /// The call's id.
    pub(crate) request: RequestId,
    /// When the call arrived, by the hub's clock.
    pub(crate) at: Time,
    /// What was read before and is still so.
    pub(crate) seen: Seen,
}

/// The thing an act is about, as events write it: `kind:id`.
pub(crate) fn object(kind: &str, id: impl fmt::Display) -> String {
    format!("{kind}:{id}")
}

impl Caller {
    /// The account on whose behalf the call is made: the caller's own, the one that launched the vault's task, or the
    /// technician's at an instrument. Where nobody is signed on it is the instrument's, which finds no project.
    pub(crate) const fn account(&self) -> AccountId {
        match &self.who {
            Who::Account { account, .. }
            | Who::Browser { account, .. }
            | Who::Instrument { account, technician: None, .. } => account.id,
            Who::Instrument { technician: Some(technician), .. } => *technician,
            Who::Vault { owner, .. } => *owner,
        }
    }

    /// The vault's task, if a vault calls.
    pub(crate) const fn task(&self) -> Option<TaskId> {
        match &self.who {
            Who::Account { .. } | Who::Browser { .. } | Who::Instrument { .. } => None,
            Who::Vault { task, .. } => Some(*task),
        }
    }

    /// What kind of caller this is, for the table.
    pub(crate) const fn actor(&self) -> Actor {
        match &self.who {
            Who::Account { key, .. } if matches!(key.kind, KeyKind::Instrument) => {
                Actor::Instrument
            }
            Who::Account { key: Key { limit: Some(limit), .. }, .. } => {
                Actor::Limited { scope: limit.scope }
            }
            Who::Account { account, .. } | Who::Browser { account, .. }
                if matches!(account.belongs, Some(Belongs { role: Role::Auditor, .. })) =>
            {
                Actor::Auditor { operator: account.operator }
            }
            Who::Account { account, .. } | Who::Browser { account, .. } => {
                Actor::Person { operator: account.operator }
            }
            Who::Instrument { .. } => Actor::Instrument,
            Who::Vault { .. } => Actor::Vault,
        }
    }

    /// Whose lists these are: the account's, or the part of them that a limited key finds.
    pub(crate) fn viewer(&self) -> Viewer {
        let key = match &self.who {
            Who::Account { key, .. } => {
                key.limit.as_ref().and_then(|limit| limit.projects.as_ref()).map(|_| key.id)
            }
            Who::Browser { .. } | Who::Instrument { .. } | Who::Vault { .. } => None,
        };
        Viewer { account: self.account(), key }
    }

    /// Whether the caller's key finds this project at all, if its account does.
    pub(crate) fn reaches(&self, project: ProjectId) -> bool {
        match &self.who {
            Who::Account { key, .. } => key
                .limit
                .as_ref()
                .and_then(|limit| limit.projects.as_ref())
                .is_none_or(|projects| projects.contains(&project)),
            Who::Browser { .. } | Who::Instrument { .. } | Who::Vault { .. } => true,
        }
    }

    /// The right that is left of an account's right in a project: a limited key's scope caps it.
    pub(crate) fn lesser(&self, right: Right) -> Right {
        match self.actor() {
            Actor::Limited { scope } => right.min(scope),
            _ => right,
        }
    }

    /// Whether the caller runs this hub, with a key that is not limited.
    pub(crate) const fn is_operator(&self) -> bool {
        matches!(self.actor(), Actor::Person { operator: true } | Actor::Auditor { operator: true })
    }

    /// How events name this caller.
    pub(crate) fn name(&self) -> String {
        match &self.who {
            Who::Account { account, .. } | Who::Browser { account, .. } => {
                object("account", account.id)
            }
            Who::Instrument { id, .. } => object("instrument", id),
            Who::Vault { task, .. } => object("vault", task),
        }
    }

    /// Asks the table whether this caller may do `action` to the thing `kind` `id`, of which it has `standing`. A thing it
    /// may not know of is not found; another refusal becomes an event.
    pub(crate) fn may(
        &self,
        action: Action,
        standing: Standing,
        kind: &'static str,
        id: impl fmt::Display,
        project: Option<ProjectId>,
    ) -> Result<(), HubError> {
        match allow(self.actor(), action, standing) {
            Verdict::Allow => Ok(()),
            // It finds nothing then, whatever is there: saying why tells nothing of the thing.
            Verdict::Hide if matches!(self.who, Who::Instrument { technician: None, .. }) => {
                Err(HubError::new(
                    ErrorCode::Forbidden,
                    "nobody is signed on at this instrument, so it makes no runs",
                )
                .hint("sign on: `chorion instrument sign-on` here, and answer its code elsewhere")
                .refusing(action.act(), object(kind, id), project))
            }
            Verdict::Hide => Err(HubError::not_found(kind, id)),
            Verdict::Forbid => {
                let thing = object(kind, &id);
                let error = HubError::new(
                    ErrorCode::Forbidden,
                    format!("{} may not do `{}` to {kind} {id}", self.describe(), action.act()),
                )
                .hint(match self.actor() {
                    Actor::Instrument => {
                        "an instrument's key sends runs and nothing else: use a person's key"
                    }
                    Actor::Limited { .. } => {
                        "this key is limited: use one that may more, or ask for a higher right"
                    }
                    Actor::Person { .. } if matches!(standing, Standing::Case { treats: false, .. }) => {
                        "what patients told is for administrators and clinicians of the project's organization"
                    }
                    _ if matches!(standing, Standing::Organization { .. }) => {
                        "ask an administrator of the organization"
                    }
                    Actor::Auditor { .. } => "an auditor reads what was done, and never data",
                    _ => "ask an admin or the owner of the project for a higher right",
                });
                Err(error.refusing(action.act(), thing, project))
            }
        }
    }

    /// As [`may`](Self::may), for acts about the hub or the caller itself.
    pub(crate) fn may_here(&self, action: Action) -> Result<(), HubError> {
        match allow(self.actor(), action, Standing::Hub) {
            Verdict::Allow => Ok(()),
            Verdict::Forbid | Verdict::Hide => Err(HubError::new(
                ErrorCode::Forbidden,
                format!("{} may not do `{}`", self.describe(), action.act()),
            )
            .hint(match self.actor() {
                Actor::Instrument => {
                    "an instrument's key sends runs and nothing else: use a person's key"
                }
                Actor::Limited { .. } => {
                    "this key is limited: use one of your account's keys that is not"
                }
                Actor::Auditor { .. } => {
                    "an auditor has no projects, and running the hub is for its operators"
                }
                _ => "this is for accounts that run the hub",
            })
            .refusing(action.act(), "hub", None)),
        }
    }

    const fn describe(&self) -> &'static str {
        match self.actor() {
            Actor::Person { .. } => "your account",
            Actor::Limited { .. } => "this limited key",
            Actor::Auditor { .. } => "an auditor",
            Actor::Instrument => "an instrument's key",
            Actor::Vault => "a vault",
        }
    }

    /// An event of this call that was done; change what differs.
    pub(crate) fn event(
        &self,
        act: &'static str,
        object: impl Into<String>,
        project: Option<ProjectId>,
    ) -> NewEvent {
        NewEvent {
            at: self.at,
            actor: self.name(),
            act,
            object: object.into(),
            project,
            purpose: None,
            outcome: Outcome::Done,
            reason: None,
            request: Some(self.request),
        }
    }
}

/// What a key is released for: a few plain words, because it stands in the audit list, where no data may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purpose(String);

impl Purpose {
    /// Reads a purpose: 1 to 64 small letters, digits, spaces, hyphens and dots.
    pub(crate) fn parse(text: &str) -> Result<Self, HubError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b" -._".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(HubError::bad_request(
                "the purpose is not 1 to 64 small letters, digits, spaces, hyphens and dots",
            )
            .hint("it stands in the audit list, so it must carry no data: `download`, `list`"))
        }
    }

    /// The words.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
