//! `chorion org`: accounts that belong together, each with a role.

mod kms;

use api::{
    AccountId, CreateOrganization, InviteMember, Organization, OrganizationId, OrganizationMember,
    Plan, Role, SetPlan, SetRole,
};
use clap::{Subcommand, ValueEnum};

use crate::config::ClientContext;
use crate::fields::{self, FieldsCommand};
use crate::report::{CliResult, Ui};

/// What can be done about organizations.
#[derive(Debug, Subcommand)]
pub(crate) enum OrgCommand {
    /// Make one (operators).
    Create {
        /// What it is called.
        name: String,
        /// What it has agreed on: a key of its own needs the enterprise plan.
        #[arg(long, value_enum, default_value = "standard")]
        plan: PlanArg,
    },
    /// Yours; all of them for operators.
    List,
    /// One, with its accounts.
    Show {
        /// Its id.
        organization: OrganizationId,
    },
    /// Change the plan (operators).
    Plan {
        /// Its id.
        organization: OrganizationId,
        /// The plan from now on.
        #[arg(value_enum)]
        plan: PlanArg,
    },
    /// How its keys are held, and whether it has one of its own.
    Custody {
        /// Its id.
        organization: OrganizationId,
    },
    /// A key that it holds itself: set, test, watch, rotate, rehearse a revocation.
    #[command(subcommand)]
    Kms(Box<kms::KmsCommand>),
    /// Which fields of its cases are searchable: list, on, off, rotate.
    #[command(subcommand)]
    Fields(FieldsCommand),
    /// What it wants of its cases: whether a second person closes them.
    CaseRules {
        /// Its id.
        organization: OrganizationId,
        /// Whether another person than the one who concluded a case closes it; shown if absent.
        #[arg(long, value_name = "true|false")]
        second_person: Option<bool>,
    },
    /// Its accounts: invite one, change its role, disable or remove it.
    #[command(subcommand)]
    Members(MembersCommand),
}

/// What can be done about the accounts of an organization.
#[derive(Debug, Subcommand)]
pub(crate) enum MembersCommand {
    /// Everyone who belongs to it.
    List {
        /// The organization.
        organization: OrganizationId,
    },
    /// Make an account of it, and a one-time code for its first key.
    Invite {
        /// The organization.
        organization: OrganizationId,
        /// What the account is called.
        name: String,
        /// As what.
        #[arg(long, value_enum)]
        role: RoleArg,
    },
    /// Give an account another role; operators also bring in one that belongs nowhere.
    Set {
        /// The organization.
        organization: OrganizationId,
        /// The account.
        account: AccountId,
        /// As what.
        #[arg(long, value_enum)]
        role: RoleArg,
    },
    /// Stop an account: its keys sign no more, its browsers are signed out.
    Disable {
        /// The organization.
        organization: OrganizationId,
        /// The account.
        account: AccountId,
    },
    /// Take an account out of the organization and out of its projects; the account stays its person's.
    Remove {
        /// The organization.
        organization: OrganizationId,
        /// The account.
        account: AccountId,
    },
}

/// What an account is in its organization.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleArg {
    /// Invites, disables, gives roles.
    Administrator,
    /// Makes projects, reads where it is a member.
    Clinician,
    /// Makes projects, runs instruments.
    Lab,
    /// Reads what was done and who may do what, and never data.
    Auditor,
}

impl RoleArg {
    const fn role(self) -> Role {
        match self {
            Self::Administrator => Role::Administrator,
            Self::Clinician => Role::Clinician,
            Self::Lab => Role::Lab,
            Self::Auditor => Role::Auditor,
        }
    }
}

/// What an organization has agreed on with the operator.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PlanArg {
    /// Everything but a key of one's own.
    Standard,
    /// Bring-your-own-key besides.
    Enterprise,
}

impl PlanArg {
    const fn plan(self) -> Plan {
        match self {
            Self::Standard => Plan::Standard,
            Self::Enterprise => Plan::Enterprise,
        }
    }
}

fn shown(member: &OrganizationMember) -> String {
    let disabled = member.disabled.map(|at| format!("  disabled {at}")).unwrap_or_default();
    format!("{}  {:<13}  {}{disabled}", member.account, member.role.as_str(), member.name)
}

fn row(one: &Organization) -> String {
    format!("{}  {:<10}  {}", one.id, one.plan.as_str(), one.name)
}

pub(crate) async fn run(command: OrgCommand, ui: Ui) -> CliResult {
    match command {
        OrgCommand::Kms(command) => return kms::run(*command, ui).await,
        OrgCommand::Fields(command) => return fields::run(command, ui).await,
        OrgCommand::CaseRules { organization, second_person } => {
            return fields::rules(organization, second_person, ui).await;
        }
        _ => {}
    }
    let ctx = ClientContext::load(ui)?;
    let client = &ctx.client;
    match command {
        OrgCommand::Kms(_) => {}
        OrgCommand::Create { name, plan } => {
            let create = CreateOrganization { name, plan: plan.plan() };
            let made = client.create_organization(&create).await?;
            ui.line(format!("organization: {} ({})", made.name, made.id));
            ui.line(format!(
                "next: chorion org members invite {} NAME --role administrator",
                made.id
            ));
            ui.value(&made);
        }
        OrgCommand::List => {
            let all = client.organizations().all().await?;
            if all.is_empty() {
                ui.line("no organizations: an operator makes one with `chorion org create NAME`");
            }
            all.iter().for_each(|one| ui.line(row(one)));
            ui.value(&all);
        }
        OrgCommand::Show { organization } => {
            let found = client.organization(organization).await?;
            let members = client.organization_members(organization).all().await?;
            ui.line(row(&found));
            members.iter().for_each(|member| ui.line(shown(member)));
            ui.value(&serde_json::json!({ "organization": found, "members": members }));
        }
        OrgCommand::Plan { organization, plan } => {
            let found = client.set_plan(organization, &SetPlan { plan: plan.plan() }).await?;
            ui.line(row(&found));
            ui.value(&found);
        }
        OrgCommand::Custody { organization } => {
            let custody = client.organization_custody(organization).await?;
            ui.line(&custody.sentence);
            ui.value(&custody);
        }
        OrgCommand::Members(command) => members(client, ui, command).await?,
        OrgCommand::Fields(_) | OrgCommand::CaseRules { .. } => {}
    }
    Ok(())
}

async fn members(client: &client::Client, ui: Ui, command: MembersCommand) -> CliResult {
    let member = match command {
        MembersCommand::List { organization } => {
            let members = client.organization_members(organization).all().await?;
            members.iter().for_each(|member| ui.line(shown(member)));
            ui.value(&members);
            return Ok(());
        }
        MembersCommand::Invite { organization, name, role } => {
            let invite = InviteMember { name, role: role.role() };
            let invitation = client.invite_member(organization, &invite).await?;
            ui.line(format!("account: {} ({})", invitation.account.name, invitation.account.id));
            ui.line(format!(
                "code: {} (until {}, counts once)",
                invitation.code, invitation.expires
            ));
            ui.value(&invitation);
            return Ok(());
        }
        MembersCommand::Set { organization, account, role } => {
            client.set_role(organization, account, &SetRole { role: role.role() }).await?
        }
        MembersCommand::Disable { organization, account } => {
            client.disable_member(organization, account).await?
        }
        MembersCommand::Remove { organization, account } => {
            let member = client.remove_organization_member(organization, account).await?;
            ui.line(format!(
                "{account} does not belong to organization {organization} any more, nor to its projects"
            ));
            ui.value(&member);
            return Ok(());
        }
    };
    ui.line(shown(&member));
    ui.value(&member);
    Ok(())
}
