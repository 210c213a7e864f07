//! `chorion approve boot`, and the policy by which reports of vaults are appraised on this machine.

use std::path::Path;

use api::{ProjectId, TaskId};
use authenticator::OwnPolicy;
use clap::Args;

use super::sign_act;
use crate::config::ClientContext;
use crate::offline::keys::read_small;
use crate::report::{CliError, CliResult, Ui};

/// Where the owner's policy lies, in the folder of settings.
const POLICY: &str = "evidence-policy.json";

/// Lets a vault start for a task
#[derive(Debug, Args)]
pub(crate) struct BootArgs {
    /// Which task: a notice names it, and so does `chorion session show`.
    task: TaskId,
    /// Which project of yours it is about.
    #[arg(long)]
    project: ProjectId,
    /// It was read and is meant: do not ask back.
    #[arg(long)]
    yes: bool,
}

/// The policy of this machine; nothing where there is none.
pub(super) fn own_policy(home: &Path) -> CliResult<Option<OwnPolicy>> {
    let path = home.join(POLICY);
    if !path.exists() {
        return Ok(None);
    }
    OwnPolicy::parse(read_small(&path)?.as_bytes()).map(Some).map_err(|e| {
        CliError::new(format!("{} is no policy", path.display()))
            .caused_by(e)
            .hint("`spec/evidence.md` section 5 has the fields and an example")
    })
}

/// `chorion approve boot`
pub(super) async fn boot(ctx: &ClientContext, ui: Ui, args: &BootArgs) -> CliResult {
    let policy = own_policy(ctx.home())?.ok_or_else(|| {
        CliError::new(format!(
            "there is no policy in {} to appraise a vault by",
            ctx.home().display()
        ))
        .hint(format!(
            "write one as {POLICY}: `spec/evidence.md` section 5; least TCBs must stand in it"
        ))
    })?;
    let owner = ctx.owner()?;
    let signed = ctx.client.card(args.project).await?;
    let card = owner.card(ctx, args.project, &signed)?;
    let key = owner.approval_key()?;
    let act = owner.device(&ctx.hub_id, &key).boot(&card, args.task, &policy)?;
    let approval = sign_act(ctx, ui, args.project, act, "let a vault start").await?;
    if !args.yes && !crate::people::confirm("Let it start? Type yes: ", "yes")? {
        return Err(CliError::new(format!("no vault was let start for task {}", args.task)));
    }
    let task = ctx.client.approve_boot(args.task, &approval).await?;
    ui.line(format!(
        "a vault may start for task {}; it gets no key before you approve what it does",
        task.id
    ));
    ui.value(&task);
    Ok(())
}
