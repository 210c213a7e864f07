//! `chorion block`: callers that are not answered. `chorion why`: what a refused call would have needed.

use api::{AddBlock, Block, BlockId, RequestId, Right};
use clap::{Args, Subcommand};

use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};

/// What can be done about blocks; operators only.
#[derive(Debug, Subcommand)]
pub(crate) enum BlockCommand {
    /// Every block in force: who, why, until when.
    List,
    /// Stop answering an address or a key.
    #[command(group = clap::ArgGroup::new("whom").required(true))]
    Add {
        /// An IPv4 address, or an IPv6 address whose /64 is meant.
        #[arg(long, value_name = "ADDRESS", group = "whom")]
        address: Option<String>,
        /// A key, by its id.
        #[arg(long, value_name = "KEY", group = "whom")]
        key: Option<api::KeyId>,
        /// For how many hours; until it is lifted if absent.
        #[arg(long, value_name = "N")]
        hours: Option<u32>,
        /// Why, in one line: whoever is blocked reads it.
        #[arg(long)]
        reason: String,
    },
    /// Answer again: a block by its id, or the one of an address or key.
    Lift {
        /// The block's id, an address, or a key's id.
        block: String,
    },
}

/// Which call is to be explained.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The call's id, as the refusal showed it: `request ID`.
    call: RequestId,
}

pub(crate) async fn run(command: BlockCommand, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    match command {
        BlockCommand::List => {
            let blocks = ctx.client.blocks().all().await?;
            blocks.iter().for_each(|block| ui.line(shown(block)));
            if blocks.is_empty() {
                ui.note("nobody is blocked");
            }
            ui.value(&blocks);
        }
        BlockCommand::Add { address, key, hours, reason } => {
            let subject = match (address, key) {
                (Some(address), _) => format!("address:{address}"),
                (None, Some(key)) => format!("key:{key}"),
                (None, None) => return Err(CliError::new("nobody is named who is to be blocked")),
            };
            let seconds = hours.map(|hours| hours.saturating_mul(3600));
            let block = ctx.client.add_block(&AddBlock { subject, seconds, reason }).await?;
            ui.line(shown(&block));
            ui.value(&block);
        }
        BlockCommand::Lift { block } => {
            let id = match block.parse::<BlockId>() {
                Ok(id) => id,
                Err(_) => find(&ctx, &block).await?,
            };
            let block = ctx.client.lift_block(id).await?;
            ui.line(format!("{} is answered again", block.subject));
            ui.value(&block);
        }
    }
    Ok(())
}

/// The block of an address or key, as people write it.
async fn find(ctx: &ClientContext, whom: &str) -> CliResult<BlockId> {
    let blocks = ctx.client.blocks().all().await?;
    let is = |block: &&Block| {
        block.subject == whom
            || block.subject.split_once(':').is_some_and(|(_, subject)| subject == whom)
    };
    blocks.iter().find(is).map(|block| block.id).ok_or_else(|| {
        CliError::new(format!("{whom} is not blocked")).hint("`chorion block list` shows who is")
    })
}

fn shown(block: &Block) -> String {
    let until = block.until.map_or_else(|| "lifted".to_owned(), |until| format!("{until:.0}"));
    let by = block.by.map_or_else(|| "the hub".to_owned(), |account| account.to_string());
    format!("{}  {:<44} until {until}  by {by}: {}", block.id, block.subject, block.reason)
}

pub(crate) async fn why(args: WhyArgs, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let told = ctx.client.why(args.call).await?;
    ui.line(format!("call: {} at {}", told.call, told.at));
    ui.line(format!("refused: {} to {} by {} ({})", told.act, told.object, told.actor, told.code));
    ui.line(format!("needed: {}", told.needed));
    if let Some(project) = told.project {
        let has = told.has.map_or("nothing", word);
        ui.line(format!("has: {has} in project {project}"));
    }
    for member in &told.granted_by {
        ui.line(format!("given by: {} ({}, {})", member.name, word(member.right), member.account));
    }
    ui.line(format!("\nhint: {}", told.hint));
    ui.value(&told);
    Ok(())
}

const fn word(right: Right) -> &'static str {
    match right {
        Right::Browse => "browse",
        Right::Read => "read",
        Right::Create => "create",
        Right::Write => "write",
        Right::Admin => "admin",
        Right::Owner => "owner",
    }
}
