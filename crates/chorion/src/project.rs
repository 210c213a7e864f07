//! `chorion project`: who holds the key, who belongs to it, how it changes hands, and its end.

use api::{
    AccountId, ConfirmDeletion, CreateProject, Custodian, Digest, OfferTransfer, Project,
    ProjectId, Right, TransferId,
};
use clap::{Subcommand, ValueEnum};
use dataset::OpenDataset;
use proof::{Act, Delete, ProjectCard};
use serde::Serialize;

use crate::config::ClientContext;
use crate::owner::PersonArgs;
use crate::owner::approve::sign_act;
use crate::owner::device::Owner;
use crate::owner::handover::take;
use crate::people::confirm;
use crate::report::{CliError, CliResult, Ui};

/// What can be done about projects.
#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Make a project.
    Create {
        /// What it is called; sealed under the project's own key.
        name: String,
        /// Who shall hold the key.
        #[arg(long, value_enum, default_value = "platform")]
        custodian: Holder,
        /// For `--custodian owner`: a project for trying things out, which vaults that prove nothing may open. NOT CONFIDENTIAL, and
        /// never to be changed.
        #[arg(long)]
        test: bool,
        /// For `--custodian owner`: the account of the words must sign every approval too, as an Ethereum wallet does.
        #[arg(long)]
        second_signer: bool,
        #[command(flatten)]
        person: PersonArgs,
        /// The organization that it shall belong to, if any: one that you belong to.
        #[arg(long, value_name = "ID")]
        organization: Option<api::OrganizationId>,
    },
    /// The projects that you may see.
    List,
    /// One project.
    Show {
        /// Its id.
        project: ProjectId,
    },
    /// Who belongs to it.
    #[command(subcommand)]
    Members(MembersCommand),
    /// The card: who holds the key, and the six words to compare.
    Card {
        /// The project.
        project: ProjectId,
        /// Go by this card from now on, because its six words are those that its owner said.
        #[arg(long, value_name = "SIX WORDS")]
        confirm: Option<String>,
    },
    /// Hand it over.
    #[command(subcommand)]
    Transfer(TransferCommand),
    /// Delete it with everything in it, for ever.
    Delete {
        /// Its id.
        project: ProjectId,
        /// Its name, instead of being asked for it.
        #[arg(long, value_name = "NAME")]
        yes: Option<String>,
        #[command(flatten)]
        person: PersonArgs,
    },
}

/// What can be done about members.
#[derive(Debug, Subcommand)]
pub(crate) enum MembersCommand {
    /// Everyone who belongs to it.
    List {
        /// The project.
        project: ProjectId,
    },
    /// Add a member, or change what they may do.
    Add {
        /// The project.
        project: ProjectId,
        /// Who.
        account: AccountId,
        /// What they may do. Browse is not read: it sees names and states and opens nothing.
        #[arg(value_enum)]
        right: Rights,
    },
    /// Remove a member.
    Remove {
        /// The project.
        project: ProjectId,
        /// Who.
        account: AccountId,
    },
}

/// How a project changes hands.
#[derive(Debug, Subcommand)]
pub(crate) enum TransferCommand {
    /// Offer it to another account.
    Offer {
        /// The project.
        project: ProjectId,
        /// To whom.
        account: AccountId,
        /// Only hand over the rights: what you downloaded a key for, that key still opens. Without this, everything is written
        /// anew under new keys when it is accepted.
        #[arg(long)]
        re_wrap_only: bool,
    },
    /// Offers to you and by you.
    List,
    /// Take what was offered to you.
    Accept {
        /// The offer.
        transfer: TransferId,
    },
    /// Do not take it.
    Refuse {
        /// The offer.
        transfer: TransferId,
    },
    /// Take your offer back.
    Withdraw {
        /// The offer.
        transfer: TransferId,
    },
}

/// Who holds the key.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Holder {
    /// The operator of the hub.
    Platform,
    /// An organization's own key management service.
    Organization,
    /// A person's twelve words.
    Owner,
}

impl Holder {
    /// As the wire says it.
    pub(crate) const fn custodian(self) -> Custodian {
        match self {
            Self::Platform => Custodian::Platform,
            Self::Organization => Custodian::Organization,
            Self::Owner => Custodian::Owner,
        }
    }
}

/// What a member may do; each includes those before.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Rights {
    /// See names, states and counts.
    Browse,
    /// Open data.
    Read,
    /// Send runs and launch apps.
    Create,
    /// Change and delete datasets.
    Write,
    /// Add and remove members.
    Admin,
}

#[derive(Debug, Serialize)]
struct ShownCard {
    card: ProjectCard,
    digest: Digest,
    phrase: String,
}

pub(crate) async fn run(command: ProjectCommand, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    match command {
        ProjectCommand::Create {
            name,
            custodian: Holder::Owner,
            test,
            second_signer,
            person,
            organization,
        } => {
            ctx.be(Owner::unlock(&person)?);
            create_own(&ctx, ui, &name, test, second_signer, organization).await
        }
        ProjectCommand::Create { test: true, .. }
        | ProjectCommand::Create { second_signer: true, .. } => Err(CliError::new(
            "--test and --second-signer stand in the card of an owner's project alone",
        )
        .hint("add --custodian owner")),
        ProjectCommand::Create { name, custodian, organization, .. } => {
            create(&ctx, ui, &name, custodian, organization).await
        }
        ProjectCommand::List => {
            let mut projects = ctx.client.projects().all().await?;
            if projects.is_empty() {
                ui.line("no projects yet: `chorion project create NAME` makes one");
            }
            for project in &mut projects {
                project.name = Some(name(&ctx, project).await);
                ui.line(row(project));
            }
            ui.value(&projects);
            Ok(())
        }
        ProjectCommand::Show { project } => {
            let mut project = ctx.client.project(project).await?;
            project.name = Some(name(&ctx, &project).await);
            ui.line(row(&project));
            ui.value(&project);
            Ok(())
        }
        ProjectCommand::Members(command) => members(&ctx, ui, command).await,
        ProjectCommand::Card { project, confirm } => {
            let signed = ctx.client.card(project).await?;
            if let Some(words) = confirm {
                ctx.pins().confirm(project, &signed, &words).map_err(|e| {
                    CliError::new(format!("the card of project {project} was not confirmed"))
                        .caused_by(e)
                })?;
            }
            let (card, _signer) = ProjectCard::open(&signed, project).map_err(|e| {
                CliError::new(format!("the card of project {project} does not hold")).caused_by(e)
            })?;
            let (digest, phrase) = ProjectCard::fingerprint(&signed);
            ui.line(format!("key held by: {}", card.custodian().as_str()));
            ui.line(format!("card: number {}, digest {digest}", card.number()));
            if card.is_test() {
                ui.line("test mark: NOT CONFIDENTIAL, vaults that prove nothing may open it");
            }
            ui.line(format!("six words: {phrase}"));
            ui.value(&ShownCard { card, digest, phrase });
            Ok(())
        }
        ProjectCommand::Transfer(command) => transfer(&ctx, ui, command).await,
        ProjectCommand::Delete { project, yes, person } => {
            if ctx.client.project(project).await?.custodian == Custodian::Owner {
                ctx.be(Owner::unlock(&person)?);
            }
            delete(&ctx, ui, project, yes).await
        }
    }
}

async fn create(
    ctx: &ClientContext,
    ui: Ui,
    name: &str,
    holder: Holder,
    organization: Option<api::OrganizationId>,
) -> CliResult {
    let custodian = holder.custodian();
    if custodian == Custodian::Organization {
        may_bring_its_key(ctx, organization).await?;
    }
    let recipient = match organization {
        Some(id) if custodian == Custodian::Organization => {
            let found = ctx.client.organization(id).await?.recipient;
            Some(found.ok_or_else(|| {
                CliError::new(format!("organization {id} has no key of its own yet"))
                    .hint("an administrator of the organization sets it up: chorion org kms set")
            })?)
        }
        _ => {
            let hub = ctx.client.whoami().await?.hub;
            let offered = hub.custodians.into_iter().find(|c| c.custodian == custodian);
            offered.and_then(|c| c.recipient)
        }
    };
    let recipient = recipient.ok_or_else(|| {
        CliError::new(format!(
            "this hub does not offer projects whose key is held by: {}",
            custodian.as_str()
        ))
        .hint("it offers: platform, owner")
    })?;
    let id = ProjectId::generate();
    // The project is its own dataset here: its key seals its name and nothing else.
    let open = OpenDataset::create(own(id), id, Digest([0; 32]))?;
    let create = CreateProject {
        id,
        custodian,
        wrapped_key: open.wrap_to(&recipient.0)?,
        label: open.seal_label("project name", name.as_bytes())?,
        card: None,
        organization,
    };
    let project = ctx.client.create_project(&create).await?;
    ui.line(format!(
        "project {} is made; its key is held by: {}",
        project.id,
        project.custodian.as_str()
    ));
    ui.value(&project);
    Ok(())
}

/// Makes a project whose key is the person's own: the card is signed here, and its keys are wrapped to the words.
async fn create_own(
    ctx: &ClientContext,
    ui: Ui,
    name: &str,
    test: bool,
    second_signer: bool,
    organization: Option<api::OrganizationId>,
) -> CliResult {
    let owner = ctx.owner()?;
    let id = ProjectId::generate();
    let second = if second_signer { Some(owner.ethereum_address()?) } else { None };
    let writer = ctx.signing.public();
    let card = owner.first_card(&ctx.hub_id, id, test, second, writer)?;
    let open = OpenDataset::create(own(id), id, Digest([0; 32]))?;
    let create = CreateProject {
        id,
        custodian: Custodian::Owner,
        wrapped_key: open.wrap_to(&owner.person.sealing().public().to_bytes())?,
        label: open.seal_label("project name", name.as_bytes())?,
        card: Some(card.clone()),
        organization,
    };
    // Gone by from here on, whatever the hub answers.
    owner.card(ctx, id, &card)?;
    let project = ctx.client.create_project(&create).await?;
    let (_, phrase) = ProjectCard::fingerprint(&card);
    ui.line(format!(
        "project {} is made; its key is held by: you, by your words alone",
        project.id
    ));
    ui.line(format!("its card's six words, for whoever seals for it: {phrase}"));
    if test {
        ui.line("test mark: NOT CONFIDENTIAL, vaults that prove nothing may open it");
    }
    ui.value(&project);
    Ok(())
}

/// Says why not, before anything else, where an organization has no key of its own.
async fn may_bring_its_key(
    ctx: &ClientContext,
    organization: Option<api::OrganizationId>,
) -> CliResult {
    let id = organization.ok_or_else(|| {
        CliError::new("custody by an organization is for projects that belong to one")
            .hint("name it: --organization ID")
    })?;
    let found = ctx.client.organization(id).await?;
    match found.plan {
        api::Plan::Enterprise => Ok(()),
        api::Plan::Standard => Err(CliError::new(format!(
            "bring-your-own-key needs the enterprise plan, and organization {} has the standard plan",
            found.name
        ))
        .hint(format!("an operator changes it: chorion org plan {id} enterprise"))),
    }
}

/// The dataset that a project is for its own key.
fn own(project: ProjectId) -> api::DatasetId {
    api::DatasetId::from_bytes(project.to_bytes())
}

/// A project's name: as the hub opened it, or opened here where the custodian releases the key to us.
async fn name(ctx: &ClientContext, project: &Project) -> String {
    let opened = async {
        let open = if project.custodian == Custodian::Owner {
            let owner = ctx.owner_if_unlocked()?;
            let key = ctx.client.project_key(project.id).await.ok()?;
            OpenDataset::from_release(&key.release, &owner.person.sealing()).ok()?
        } else {
            let release =
                ctx.client.release_project(project.id, &ctx.release_request("list")).await.ok()?;
            ctx.was_released(&format!("project:{}", project.id), &release).ok()?;
            OpenDataset::from_release(&release, &ctx.recipient).ok()?
        };
        String::from_utf8(open.open_label("project name", &project.label).ok()?).ok()
    };
    match &project.name {
        Some(name) => name.clone(),
        None => opened.await.unwrap_or_else(|| "(sealed)".to_owned()),
    }
}

fn row(project: &Project) -> String {
    let name = project.name.as_deref().unwrap_or("(sealed)");
    format!(
        "{}  {:<12}  {:<6}  {name}",
        project.id,
        project.custodian.as_str(),
        right(project.right)
    )
}

const fn right(right: Right) -> &'static str {
    match right {
        Right::Browse => "browse",
        Right::Read => "read",
        Right::Create => "create",
        Right::Write => "write",
        Right::Admin => "admin",
        Right::Owner => "owner",
    }
}

async fn members(ctx: &ClientContext, ui: Ui, command: MembersCommand) -> CliResult {
    match command {
        MembersCommand::List { project } => {
            let members = ctx.client.members(project).all().await?;
            for m in &members {
                ui.line(format!("{}  {:<6}  {}", m.account, right(m.right), m.name));
            }
            ui.value(&members);
        }
        MembersCommand::Add { project, account, right } => {
            let right = match right {
                Rights::Browse => Right::Browse,
                Rights::Read => Right::Read,
                Rights::Create => Right::Create,
                Rights::Write => Right::Write,
                Rights::Admin => Right::Admin,
            };
            let member = ctx.client.set_member(project, account, right).await?;
            ui.line(format!("{account} may {} in project {project}", self::right(right)));
            ui.value(&member);
        }
        MembersCommand::Remove { project, account } => {
            ctx.client.remove_member(project, account).await?;
            ui.line(format!("{account} is no member of project {project} any more; keys released before still open what they opened"));
            ui.value(
                &serde_json::json!({ "project": project, "account": account, "removed": true }),
            );
        }
    }
    Ok(())
}

async fn transfer(ctx: &ClientContext, ui: Ui, command: TransferCommand) -> CliResult {
    let transfer = match command {
        TransferCommand::Offer { project, account, re_wrap_only } => {
            let offer = OfferTransfer { to: account, reseal: !re_wrap_only };
            ctx.client.offer_transfer(project, &offer).await?
        }
        TransferCommand::List => {
            let transfers = ctx.client.transfers().all().await?;
            for t in &transfers {
                ui.line(format!(
                    "{}  {:?}  project {} from {} to {}",
                    t.id, t.state, t.project, t.from, t.to
                ));
            }
            ui.value(&transfers);
            return Ok(());
        }
        TransferCommand::Accept { transfer } => match take(ctx, ui, transfer).await? {
            Some(taken) => taken,
            None => ctx.client.accept_transfer(transfer).await?,
        },
        TransferCommand::Refuse { transfer } => ctx.client.refuse_transfer(transfer).await?,
        TransferCommand::Withdraw { transfer } => ctx.client.withdraw_transfer(transfer).await?,
    };
    let state = format!("{:?}", transfer.state).to_lowercase();
    ui.line(format!("transfer {} of project {}: {state}", transfer.id, transfer.project));
    ui.value(&transfer);
    Ok(())
}

async fn delete(ctx: &ClientContext, ui: Ui, project: ProjectId, yes: Option<String>) -> CliResult {
    let shown = ctx.client.project(project).await?;
    let name = name(ctx, &shown).await;
    let sure = match yes {
        Some(typed) => typed == name,
        None => confirm(
            &format!(
                "This destroys the keys of everything in project {name}, then the data, in every facility.\n\
                 There is no way back. Type its name to go on: "
            ),
            &name,
        )?,
    };
    if !sure {
        return Err(CliError::new(format!(
            "project {project} was not deleted: that is not its name"
        )));
    }
    let mut approval = None;
    if shown.custodian == Custodian::Owner {
        let act = Act::Delete(Delete { dataset: None });
        approval = Some(sign_act(ctx, ui, project, act, "delete").await?);
    }
    let gone = ctx
        .client
        .delete_project(project, &ConfirmDeletion { confirm: project.to_string(), approval })
        .await?;
    ui.line(format!(
        "project {name} is deleted: {} datasets, {} objects, keys first",
        gone.datasets, gone.objects
    ));
    crate::data::say_what_is_left(&gone, ui);
    ui.value(&gone);
    Ok(())
}
