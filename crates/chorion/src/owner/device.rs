//! This machine as an owner's device: the person whose words it keeps, and an approval key of its own (`spec/card.md`,
//! section 5).
//!
//! The approval key is drawn here and never leaves; it lies beside the identity file under the same passphrase. It certifies
//! nothing by itself: the owner's card in force does, and a card that leaves it out revokes it.

use std::path::PathBuf;

use api::{Custodian, KeyId, ProjectId, PutCard, SignedStatement, Time};
use authenticator::{Device, add_device, own_card, revoke_device};
use clap::{Args, Subcommand};
use data_encoding::HEXLOWER;
use identity::Identity;
use proof::{OwnerCard, ProjectCard, PublicKey, SigningKey};
use seal::passphrase::{self, Cost};
use seal::secret_line;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{PersonArgs, identity_path, protect_process};
use crate::config::{self, ClientContext};
use crate::offline::keys::read_small;
use crate::report::{CliError, CliResult, Ui};

const MARK: &str = "chorion-device1";
const LABEL: &[u8] = b"chorion device key v1\0";

/// A person at one of their devices, with everything unlocked.
pub(crate) struct Owner {
    pub(crate) person: Identity,
    passphrase: Zeroizing<String>,
    file: PathBuf,
}

impl Owner {
    /// Unlocks the identity file.
    pub(crate) fn unlock(args: &PersonArgs) -> CliResult<Self> {
        protect_process()?;
        let (person, passphrase) = args.open_with_passphrase()?;
        let file = identity_path(args.identity.as_deref())?.with_extension("device");
        Ok(Self { person, passphrase, file })
    }

    /// The approval key of this device; drawn when it is first asked for.
    pub(crate) fn approval_key(&self) -> CliResult<SigningKey> {
        if let Some(key) = self.kept_key()? {
            return Ok(key);
        }
        let mut seed = Zeroizing::new([0; 32]);
        seal::fill_random(&mut *seed)
            .map_err(|e| CliError::new("the device could not make its key").caused_by(e))?;
        let name = self.file.display();
        let locked = passphrase::lock(LABEL, &*seed, self.passphrase.as_bytes(), Cost::STANDARD)
            .map_err(|e| CliError::new(format!("{name} could not be made")).caused_by(e))?;
        let line = secret_line::write(MARK, &locked);
        let text = Zeroizing::new(format!(
            "# Chorion device: the approval key of this machine, under the identity file's passphrase. It is in no backup: a new\n\
             # machine makes its own.\n{}\n",
            *line
        ));
        config::write_private(&self.file, text.as_bytes())?;
        Ok(SigningKey::from_seed(&seed))
    }

    fn kept_key(&self) -> CliResult<Option<SigningKey>> {
        if !self.file.exists() {
            return Ok(None);
        }
        let name = self.file.display();
        let wrong = |e: &dyn std::fmt::Display| {
            CliError::new(format!("{name} gives no approval key: {e}"))
                .hint("revoke this device from another one, and remove the file")
        };
        let content = secret_line::read(MARK, &read_small(&self.file)?).map_err(|e| wrong(&e))?;
        let seed = passphrase::unlock(LABEL, &content, self.passphrase.as_bytes())
            .map_err(|e| wrong(&e))?;
        let seed = seed.as_slice().try_into().map_err(|_| wrong(&"it holds something else"))?;
        Ok(Some(SigningKey::from_seed(seed)))
    }

    /// The account of the words, as cards spell it.
    pub(crate) fn ethereum_address(&self) -> CliResult<String> {
        Ok(super::keys::ethereum(&self.person)?.address().to_string())
    }

    /// Whether a card is this person's: made under the same words.
    pub(crate) fn owns(&self, card: &OwnerCard) -> bool {
        authenticator::owns(&self.person, card)
    }

    /// This person at this machine, for one hub.
    pub(crate) const fn device<'a>(
        &'a self,
        hub: &'a str,
        approval_key: &'a SigningKey,
    ) -> Device<'a> {
        Device { person: &self.person, approval_key, hub }
    }

    /// This person's card of a project, checked against what this device saw before, which it remembers from here on. Nobody
    /// else can have signed it, so no words need be compared.
    pub(crate) fn card(
        &self,
        ctx: &ClientContext,
        project: ProjectId,
        signed: &SignedStatement,
    ) -> CliResult<OwnerCard> {
        let seen = ctx.confirmed(project)?;
        let card = own_card(&self.person, &ctx.hub_id, project, signed, seen.as_ref())?;
        ctx.pin(project, signed)?;
        Ok(card)
    }

    /// The same person at the same device under other words, whose file lies elsewhere.
    pub(super) fn under(&self, person: Identity) -> CliResult<Self> {
        let (passphrase, file) = (self.passphrase.clone(), self.file.clone());
        Ok(Self { person, passphrase, file })
    }

    /// What the identity file is locked with.
    pub(super) fn passphrase(&self) -> &[u8] {
        self.passphrase.as_bytes()
    }

    /// A first card, which certifies this device and lets the caller's own key write.
    pub(crate) fn first_card(
        &self,
        hub: &str,
        project: ProjectId,
        test: bool,
        second_signer: Option<String>,
        writer: PublicKey,
    ) -> CliResult<SignedStatement> {
        let key = self.approval_key()?;
        let device = self.device(hub, &key);
        Ok(device.first_card(project, test, second_signer, &[writer], Time::now())?)
    }
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Owner(..)")
    }
}

/// The devices that may approve for an owner.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// The devices in the cards of your projects.
    List {
        #[command(flatten)]
        person: PersonArgs,
    },
    /// The public half of this machine's approval key, for `device add` on a device that is certified.
    Show {
        #[command(flatten)]
        person: PersonArgs,
    },
    /// Certify another device: a new card of every project of yours lists it.
    Add(ChangeArgs),
    /// Revoke a device: a new card of every project of yours leaves it out, and what waits for an answer expires.
    Revoke(ChangeArgs),
}

/// Which device, in which projects.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// The device's approval key: 64 hexadecimal digits.
    key: String,
    /// Only in this project; in all of yours if absent.
    #[arg(long)]
    project: Option<ProjectId>,
    #[command(flatten)]
    person: PersonArgs,
}

#[derive(Debug, Serialize)]
struct ShownDevice {
    project: ProjectId,
    card_number: u32,
    key: String,
    id: KeyId,
    since: Time,
    this: bool,
}

pub(crate) async fn run(command: DeviceCommand, ui: Ui) -> CliResult {
    match command {
        DeviceCommand::Show { person } => {
            let key = Owner::unlock(&person)?.approval_key()?.public();
            let text = HEXLOWER.encode(&key.to_bytes());
            ui.line(&text);
            ui.value(&serde_json::json!({ "key": text, "id": key.id() }));
            Ok(())
        }
        DeviceCommand::List { person } => {
            let (owner, ctx) = (Owner::unlock(&person)?, ClientContext::load(ui)?);
            let own = owner.kept_key()?.map(|key| key.public().to_bytes().to_vec());
            let mut shown = Vec::new();
            for (project, card, _) in cards(&ctx, &owner, None).await? {
                for device in &card.devices {
                    let Ok(key) = PublicKey::from_bytes(&device.key.0) else { continue };
                    shown.push(ShownDevice {
                        project,
                        card_number: card.number,
                        key: HEXLOWER.encode(&device.key.0),
                        id: key.id(),
                        since: device.since,
                        this: own.as_ref() == Some(&device.key.0),
                    });
                }
            }
            for d in &shown {
                let this = if d.this { "  (this device)" } else { "" };
                ui.line(format!("project {}  {}  since {}{this}", d.project, d.key, d.since));
            }
            if shown.is_empty() {
                ui.line("no device is certified: `chorion project create NAME --custodian owner` certifies this one");
            }
            ui.value(&shown);
            Ok(())
        }
        DeviceCommand::Add(args) => change(args, true, ui).await,
        DeviceCommand::Revoke(args) => change(args, false, ui).await,
    }
}

/// The cards in force of this person's projects.
pub(super) async fn cards(
    ctx: &ClientContext,
    owner: &Owner,
    only: Option<ProjectId>,
) -> CliResult<Vec<(ProjectId, OwnerCard, SignedStatement)>> {
    let mut found = Vec::new();
    for project in ctx.client.projects().all().await? {
        let wanted = only.is_none_or(|only| only == project.id);
        if project.custodian != Custodian::Owner || !wanted {
            continue;
        }
        let signed = ctx.client.card(project.id).await?;
        if let Ok((ProjectCard::Owner(card), _)) = ProjectCard::open(&signed, project.id)
            && !owner.owns(&card)
        {
            continue;
        }
        let card = owner.card(ctx, project.id, &signed)?;
        found.push((project.id, card, signed));
    }
    Ok(found)
}

async fn change(args: ChangeArgs, add: bool, ui: Ui) -> CliResult {
    let (owner, ctx) = (Owner::unlock(&args.person)?, ClientContext::load(ui)?);
    let bytes = HEXLOWER.decode(args.key.as_bytes()).unwrap_or_default();
    let key = PublicKey::from_bytes(&bytes).map_err(|e| {
        CliError::new(format!("`{}` is no device's key", args.key))
            .caused_by(e)
            .hint("`chorion device show` on that machine prints it, `chorion device list` those that are certified")
    })?;
    let approval_key = owner.approval_key()?;
    let mut changed = Vec::new();
    for (project, seen, signed) in cards(&ctx, &owner, args.project).await? {
        let device = owner.device(&ctx.hub_id, &approval_key);
        let next = if add {
            add_device(&device, &signed, &seen, &key, Time::now())?
        } else {
            revoke_device(&device, &signed, &seen, &key)?
        };
        let Some(signed) = next else { continue };
        let put = PutCard { card: signed.clone(), approval: None };
        ctx.client.put_card(project, &put).await?;
        let card = owner.card(&ctx, project, &signed)?;
        changed.push(project);
        let done = if add { "certified" } else { "revoked" };
        ui.line(format!(
            "project {project}: device {} is {done} by card {}",
            key.id(),
            card.number
        ));
    }
    if changed.is_empty() {
        return Err(CliError::new(if add {
            "the device is certified in every project of yours already"
        } else {
            "the device is certified in no project of yours"
        }));
    }
    ui.value(&serde_json::json!({ "device": key.id(), "certified": add, "projects": changed }));
    Ok(())
}
