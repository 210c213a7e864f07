//! Why a call was refused, for those who may know: the caller itself, the owner and the admins of the project, and for acts
//! about the hub its operators. To everybody else there was no such call.
//!
//! What is explained is the event of the refusal, by the table and the rights as they are now. A call that did not verify,
//! and one about a thing that the caller may not know of, left no event: there is nothing to explain to anybody.

use api::{AccountId, Explanation, Member, ProjectId, RequestId, Right};

use super::Caller;
use crate::HubError;
use crate::data::events::Refusal;
use crate::data::{self, Connection};
use crate::policy::{self, Action, Standing, Verdict};
use crate::state::Hub;

/// How many members are looked through for those who can give a right.
const MOST_MEMBERS: i64 = 1000;

/// Explains the refusal of a call.
pub(crate) async fn why(
    hub: &Hub,
    caller: &Caller,
    id: RequestId,
) -> Result<Explanation, HubError> {
    caller.may_here(Action::RefusalSee)?;
    let unknown = || {
        HubError::not_found("refused call", id).hint(
            "a call that did not verify, or was about a thing that its caller may not know of, is not recorded",
        )
    };
    let mut reader = hub.db.read().await?;
    let Some(refusal) = data::events::refusal(&mut reader, id).await? else {
        return Err(unknown());
    };
    let own = refusal.actor == caller.name();
    let right = match refusal.project {
        Some(project) => data::members::right_of(&mut reader, project, caller.account()).await?,
        None => None,
    };
    let operator = caller.is_operator();
    let may_know = own
        || right.is_some_and(|right| right >= Right::Admin)
        || (refusal.project.is_none() && operator);
    if !may_know {
        return Err(unknown());
    }
    let who: Option<AccountId> =
        refusal.actor.strip_prefix("account:").and_then(|account| account.parse().ok());
    let has = match (refusal.project, who) {
        (Some(project), Some(who)) => data::members::right_of(&mut reader, project, who).await?,
        _ => None,
    };
    // Who may see members is shown some: neither who was put out of the project meanwhile, nor an instrument, whatever its
    // technician may, nor a key that is limited to other projects.
    let granted_by = match (refusal.project, right) {
        (Some(project), Some(right)) if sees_members(caller, project, right) => {
            granting(&mut reader, project).await?
        }
        _ => Vec::new(),
    };
    let needed = policy::needed(&refusal.act);
    let hint = hint(&refusal, has, needed.as_ref());
    Ok(Explanation {
        call: id,
        at: refusal.at,
        actor: refusal.actor,
        act: refusal.act,
        object: refusal.object,
        project: refusal.project,
        code: refusal.code,
        needed: needed.map_or_else(
            || {
                "no right decides this: a one-time code, a ticket, an offer or evidence does"
                    .to_owned()
            },
            |needed| needed.sentence,
        ),
        has,
        granted_by,
        hint,
    })
}

fn sees_members(caller: &Caller, project: ProjectId, right: Right) -> bool {
    let standing = Standing::Member { right, maker: false };
    let verdict = policy::allow(caller.actor(), Action::MemberList, standing);
    verdict == Verdict::Allow && caller.reaches(project)
}

/// The owner and the admins of a project.
async fn granting(at: &mut Connection, project: ProjectId) -> Result<Vec<Member>, HubError> {
    let mut members = data::members::list(at, project, "", MOST_MEMBERS).await?;
    members.retain(|member| member.right >= Right::Admin);
    Ok(members)
}

fn hint(refusal: &Refusal, has: Option<Right>, needed: Option<&policy::Needed>) -> String {
    let text = match (needed.and_then(|needed| needed.right), refusal.project) {
        (Some(right), Some(_)) if has.is_some_and(|has| has >= right) => {
            "the account has the right now: call again, with a person's key if an instrument's or a limited one was used"
        }
        (Some(_), Some(_)) => "an owner or admin gives it: `chorion project members`",
        (None, _) if needed.is_some() && refusal.project.is_none() => {
            "an operator of this hub can do it, with a person's key"
        }
        _ => "what was refused stands in the code: look there first",
    };
    text.to_owned()
}
