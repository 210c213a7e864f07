//! `chorion org kms`: a key that an organization holds itself.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use api::{
    ErrorCode, KeyCredentials, KeyPolicyForm, KeyService, KeyStanding, KeyTest,
    LeaveOrganizationKey, OrganizationId, OrganizationKeyStatus, RecoveryStored,
    RotateOrganizationKey, Rotation, RotationKind, Secret, SetOrganizationKey, TestOrganizationKey,
    Time,
};
use clap::{Args, Subcommand, ValueEnum};
use client::Client;
use custody::kms::policy;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::config::ClientContext;
use crate::offline::keys;
use crate::report::{CliError, CliResult, Ui};

/// What can be done about an organization's own key.
#[derive(Debug, Subcommand)]
pub(crate) enum KmsCommand {
    /// Test a key and take it in use: the first one, or another instead of it.
    Set(SetArgs),
    /// Test a key, the one in use or another, and change nothing.
    Test(TestArgs),
    /// How the key stands, and how long a revocation takes at most.
    Status {
        /// The organization.
        organization: OrganizationId,
    },
    /// Have the newest version of the customer's key, or a new organization data key, take over.
    Rotate {
        /// The organization.
        organization: OrganizationId,
        /// What is rotated.
        #[arg(value_enum)]
        what: RotateArg,
        /// Wait until it is done.
        #[arg(long)]
        wait: bool,
    },
    /// Leave the customer's key: the platform holds the organization's keys from then on, while everything goes on.
    Leave {
        /// The organization.
        organization: OrganizationId,
        /// The organization's id once more, instead of being asked.
        #[arg(long, value_name = "ID")]
        confirm: Option<String>,
        /// Wait until every key is wrapped anew.
        #[arg(long)]
        wait: bool,
    },
    /// Rehearse a revocation: take the key away, watch it have its effect, give it back, watch all resume; prints what was measured.
    Drill(DrillArgs),
    /// Print the least that the hub's identity must be granted.
    Policy {
        /// The organization.
        organization: OrganizationId,
        /// In which form.
        #[arg(long, value_enum)]
        form: FormArg,
        /// The key: an ARN, or a vault's URL of it.
        #[arg(long)]
        key: String,
        /// Who is granted: an ARN of AWS, or the object id of an application in Azure.
        #[arg(long)]
        principal: String,
    },
    /// Fetch the recovery copy, sealed to the customer's offline key, and say that it is stored.
    Recovery {
        /// The organization.
        organization: OrganizationId,
        /// Into this file, which must not be there.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// A key and how to ask for it.
#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// A key in AWS KMS: an ARN, an id, or `alias/NAME`.
    #[arg(long, group = "key", value_name = "KEY", requires = "aws_region")]
    aws_key: Option<String>,
    /// Its region.
    #[arg(long, value_name = "REGION")]
    aws_region: Option<String>,
    /// A role of the customer's to assume; `status` shows the external id that it must ask for.
    #[arg(long, value_name = "ARN")]
    aws_role: Option<String>,
    /// The id of an access key; its secret is in `--secret-file`.
    #[arg(long, value_name = "ID", requires = "secret_file")]
    aws_access_key: Option<String>,
    /// A role that trusts the token of the hub's machine, instead of an access key.
    #[arg(long, value_name = "ARN", conflicts_with = "aws_access_key")]
    aws_web_identity: Option<String>,
    /// A key in Azure Key Vault, by its URL.
    #[arg(
        long,
        group = "key",
        value_name = "URL",
        requires = "azure_tenant",
        requires = "azure_client"
    )]
    azure_key: Option<String>,
    /// The tenant's id.
    #[arg(long, value_name = "ID")]
    azure_tenant: Option<String>,
    /// The application's id; its secret's value is in `--secret-file`, or its certificate in `--azure-certificate`.
    #[arg(long, value_name = "ID")]
    azure_client: Option<String>,
    /// The application's certificate and its RSA key, PEM, instead of a secret that expires.
    #[arg(long, value_name = "FILE", requires = "azure_client", conflicts_with = "secret_file")]
    azure_certificate: Option<PathBuf>,
    /// A key on a PKCS #11 token, by its label; the PIN is in `--secret-file`.
    #[arg(
        long,
        group = "key",
        value_name = "LABEL",
        requires = "pkcs11_token",
        requires = "secret_file"
    )]
    pkcs11_key: Option<String>,
    /// The token's label.
    #[arg(long, value_name = "LABEL")]
    pkcs11_token: Option<String>,
    /// For development: a key in a file on the hub's machine, by its name.
    #[arg(long, group = "key", value_name = "NAME")]
    local_file: Option<String>,
    /// The secret: the first line of this file.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// A file that holds a secret.
fn read(path: &Path) -> CliResult<Zeroizing<String>> {
    let failed = |e| CliError::new(format!("{} cannot be read", path.display())).caused_by(e);
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
}

impl ServiceArgs {
    fn secret(&self) -> CliResult<Secret> {
        let path = self.secret_file.as_deref().ok_or_else(|| {
            CliError::new("the secret is missing").hint("give it in a file: --secret-file FILE")
        })?;
        let text = read(path)?;
        let line = text.lines().next().unwrap_or_default().trim();
        Ok(Secret::new(Zeroizing::new(line.to_owned())))
    }

    /// The key that was named, if one was.
    fn read(&self) -> CliResult<Option<(KeyService, KeyCredentials)>> {
        let named = |value: &Option<String>| value.clone().unwrap_or_default();
        if let Some(key) = &self.aws_key {
            let service = KeyService::AwsKms {
                key: key.clone(),
                region: named(&self.aws_region),
                role: self.aws_role.clone(),
            };
            let credentials = match (&self.aws_access_key, &self.aws_web_identity) {
                (Some(id), _) => {
                    KeyCredentials::AccessKey { id: id.clone(), secret: self.secret()? }
                }
                (None, Some(role)) => KeyCredentials::WebIdentity { role: role.clone() },
                (None, None) => {
                    return Err(CliError::new("nothing says who asks AWS")
                        .hint("give --aws-access-key with --secret-file, or --aws-web-identity"));
                }
            };
            return Ok(Some((service, credentials)));
        }
        if let Some(key) = &self.azure_key {
            let service = KeyService::AzureKeyVault {
                key: key.clone(),
                tenant: named(&self.azure_tenant),
                client_id: named(&self.azure_client),
            };
            let credentials = match &self.azure_certificate {
                Some(path) => KeyCredentials::ClientCertificate { pem: Secret::new(read(path)?) },
                None => KeyCredentials::ClientSecret { secret: self.secret()? },
            };
            return Ok(Some((service, credentials)));
        }
        if let Some(key) = &self.pkcs11_key {
            let service = KeyService::Pkcs11 { token: named(&self.pkcs11_token), key: key.clone() };
            return Ok(Some((service, KeyCredentials::Pin { pin: self.secret()? })));
        }
        Ok(self
            .local_file
            .clone()
            .map(|name| (KeyService::LocalFile { name }, KeyCredentials::None)))
    }
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The organization.
    organization: OrganizationId,
    #[command(flatten)]
    service: ServiceArgs,
    /// How long a released key may stay in the hub's memory: 0 to 3600 s, 300 if nothing is said.
    #[arg(long, value_name = "SECONDS")]
    lease: Option<u32>,
    /// Whether vaults that prove nothing of themselves get keys of the organization's.
    #[arg(long, value_name = "YES")]
    unattested: Option<bool>,
    /// When the secret expires, so that it is said in time.
    #[arg(long, value_name = "TIME")]
    secret_expires: Option<Time>,
    /// The customer's own offline key, to which a recovery copy is sealed: its public string, or the file with it.
    #[arg(long, value_name = "KEY")]
    recovery: Option<String>,
    /// The organization's id once more, instead of being asked: who loses the key loses the data.
    #[arg(long, value_name = "ID")]
    confirm: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The organization.
    organization: OrganizationId,
    #[command(flatten)]
    service: ServiceArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RotateArg {
    /// The customer's key: its newest version wraps the organization's keys.
    CustomerKey,
    /// The organization data key: a new one wraps dataset keys.
    DataKey,
}

/// A policy, in which form.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FormArg {
    /// A statement of a key policy and of a role, as AWS's JSON.
    AwsJson,
    /// The same for Terraform.
    AwsTerraform,
    /// Role assignments by the command line of Azure.
    AzCli,
    /// The same for Terraform.
    AzureTerraform,
}

impl FormArg {
    const fn form(self) -> KeyPolicyForm {
        match self {
            Self::AwsJson => KeyPolicyForm::AwsJson,
            Self::AwsTerraform => KeyPolicyForm::AwsTerraform,
            Self::AzCli => KeyPolicyForm::AzCli,
            Self::AzureTerraform => KeyPolicyForm::AzureTerraform,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct DrillArgs {
    /// The organization.
    organization: OrganizationId,
    /// What takes the key away, as a line for the shell; if absent, a person does it and the drill waits.
    #[arg(long, value_name = "COMMAND", requires = "back")]
    away: Option<String>,
    /// What gives it back.
    #[arg(long, value_name = "COMMAND", requires = "away")]
    back: Option<String>,
    /// For how long each half is waited for.
    #[arg(long, value_name = "SECONDS", default_value_t = 3700)]
    patience: u32,
}

/// What a drill measured.
#[derive(Debug, Serialize)]
struct Drill {
    /// From the key's being taken away to the first refusal.
    effect_seconds: f64,
    /// What `status` had said of it.
    stated_seconds: u32,
    /// From the key's being given back to the first use.
    back_seconds: f64,
    /// The refusal.
    refusal: String,
}

fn said(test: &KeyTest, ui: Ui) {
    test.done.iter().for_each(|line| ui.line(format!("done: {line}")));
    test.warnings.iter().for_each(|line| ui.line(format!("warning: {line}")));
    ui.line(format!("key: {} ({}, {})", test.key, test.provider.words(), test.algorithm));
    ui.line(format!("one unwrapping: {} ms", test.unwrap_ms));
}

fn show(status: &OrganizationKeyStatus, ui: Ui) {
    let trouble = status.trouble.map(|t| format!(": {}", t.advice())).unwrap_or_default();
    ui.line(format!("key: {} ({})", status.service.key(), status.service.provider().words()));
    ui.line(format!("state: {} since {}{trouble}", status.standing.as_str(), status.since));
    let checked = status.checked.map_or_else(|| "not yet".to_owned(), |at| at.to_string());
    ui.line(format!("asked: {checked}; next: {}", status.next_probe));
    ui.line(format!("lease: {} s", status.lease_seconds));
    ui.line(format!(
        "a revocation has its effect within {} s while the service answers, and within {} s if it cannot be reached any more",
        status.effect_seconds, status.effect_unreachable_seconds
    ));
    ui.line(format!("external id for a role in AWS: {}", status.external_id));
    for key in &status.versions {
        let copy = match key.recoverable {
            Some(true) => "  in the recovery copy",
            Some(false) => "  NOT in a stored recovery copy",
            None => "",
        };
        ui.line(format!(
            "{:>9} {:<3} since {}  under {}{copy}",
            key.purpose.as_str(),
            key.version,
            key.made,
            key.key
        ));
    }
    for rotation in &status.rotations {
        let ended = rotation.ended.map_or_else(|| "at work".to_owned(), |at| format!("done {at}"));
        ui.line(format!(
            "{} since {}: {} of {} keys, {ended}",
            rotation.kind.words(),
            rotation.began,
            rotation.done,
            rotation.total
        ));
    }
    status.warnings.iter().for_each(|line| ui.line(format!("warning: {line}")));
}

pub(crate) async fn run(command: KmsCommand, ui: Ui) -> CliResult {
    if let KmsCommand::Policy { organization, form, key, principal } = &command {
        let text = policy::print(*organization, form.form(), key, principal)
            .map_err(|error| CliError::new(error.to_string()))?;
        ui.line(&text);
        ui.value(&serde_json::json!({ "policy": text }));
        return Ok(());
    }
    let ctx = ClientContext::load(ui)?;
    let client = &ctx.client;
    match command {
        KmsCommand::Policy { .. } => {}
        KmsCommand::Set(args) => set(client, ui, args).await?,
        KmsCommand::Test(args) => {
            let (service, credentials) = match args.service.read()? {
                Some((service, credentials)) => (Some(service), credentials),
                None => (None, KeyCredentials::None),
            };
            let body = TestOrganizationKey { service, credentials };
            let test = client.test_organization_key(args.organization, &body).await?;
            said(&test, ui);
            ui.value(&test);
        }
        KmsCommand::Status { organization } => {
            let status = client.organization_key(organization).await?;
            show(&status, ui);
            ui.value(&status);
        }
        KmsCommand::Rotate { organization, what, wait } => {
            let kind = match what {
                RotateArg::CustomerKey => RotationKind::CustomerKey,
                RotateArg::DataKey => RotationKind::DataKey,
            };
            let body = RotateOrganizationKey { kind };
            let rotation = client.rotate_organization_key(organization, &body).await?;
            let rotation = at_work(client, ui, organization, rotation, wait).await?;
            ui.line(format!("{} of {} keys are wrapped anew", rotation.done, rotation.total));
            ui.value(&rotation);
        }
        KmsCommand::Leave { organization, confirm, wait } => {
            let confirm = confirm.ok_or_else(|| {
                CliError::new(
                    "leaving gives the organization's keys to the platform: from then on the operator of this hub can read every project and case that only your key opened, and taking your key away has no effect any more",
                )
                .hint(format!(
                    "say so by repeating the organization: --confirm {organization}; keep your key until `chorion org kms status` says that leaving is done, and 35 days longer where a backup from before may be brought back"
                ))
            })?;
            let body = LeaveOrganizationKey { confirm };
            let left = client.leave_organization_key(organization, &body).await?;
            let left = at_work(client, ui, organization, left, wait).await?;
            ui.line("the platform holds the organization's keys; its projects have new cards that say so");
            ui.line(format!("{} of {} dataset keys are wrapped anew", left.done, left.total));
            if left.ended.is_none() {
                ui.line(format!(
                    "it goes on by itself, and nothing stands still: chorion org kms status {organization}"
                ));
            }
            ui.line(
                "brokers refuse the new cards until a person confirms them: `chorion project card`",
            );
            ui.value(&left);
        }
        KmsCommand::Drill(args) => drill(client, ui, args).await?,
        KmsCommand::Recovery { organization, output } => {
            recovery(client, ui, organization, &output).await?;
        }
    }
    Ok(())
}

/// How far it is; with `wait`, when it is done.
async fn at_work(
    client: &Client,
    ui: Ui,
    organization: OrganizationId,
    mut rotation: Rotation,
    wait: bool,
) -> CliResult<Rotation> {
    while wait && rotation.ended.is_none() {
        ui.note(format!("{} of {} keys", rotation.done, rotation.total));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let status = client.organization_key(organization).await?;
        rotation = status.rotations.last().cloned().unwrap_or(rotation);
    }
    Ok(rotation)
}

async fn set(client: &Client, ui: Ui, args: SetArgs) -> CliResult {
    let (service, credentials) = args.service.read()?.ok_or_else(|| {
        CliError::new("no key is named").hint("give --aws-key, --azure-key or --pkcs11-key")
    })?;
    let confirm = args.confirm.ok_or_else(|| {
        CliError::new(
            "a lost key is lost data: nobody opens what is under it, not the operator and not us, unless there is a recovery copy",
        )
        .hint(format!("say so by repeating the organization: --confirm {}", args.organization))
    })?;
    let recovery =
        args.recovery.as_deref().map(keys::recipient).transpose()?.map(|key| key.to_string());
    let recovers = recovery.is_some();
    let body = SetOrganizationKey {
        service,
        credentials,
        lease_seconds: args.lease,
        unattested: args.unattested,
        secret_expires: args.secret_expires,
        recovery,
        confirm,
    };
    let test = client.set_organization_key(args.organization, &body).await?;
    said(&test, ui);
    if recovers {
        ui.line(format!(
            "next, before the first case: chorion org kms recovery {} -o FILE",
            args.organization
        ));
    }
    ui.value(&test);
    Ok(())
}

async fn recovery(
    client: &Client,
    ui: Ui,
    organization: OrganizationId,
    output: &Path,
) -> CliResult {
    let copy = client.organization_recovery(organization).await?;
    let bytes = serde_json::to_vec(&copy)
        .map_err(|e| CliError::new("the copy cannot be written").caused_by(e))?;
    let failed = |e: std::io::Error| {
        CliError::new(format!("{} cannot be written", output.display())).caused_by(e)
    };
    let mut file = std::fs::File::create_new(output).map_err(failed)?;
    std::io::Write::write_all(&mut file, &bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    let digest = proof::sha256(&bytes);
    client.organization_recovery_stored(organization, &RecoveryStored { digest }).await?;
    ui.line(format!(
        "{}: {} keys, each sealed to {}",
        output.display(),
        copy.keys.len(),
        copy.recipient
    ));
    ui.value(&copy);
    Ok(())
}

fn shell(line: &str) -> CliResult {
    let failed = || CliError::new(format!("`{line}` did not do it"));
    let status = std::process::Command::new("sh")
        .args(["-c", line])
        .status()
        .map_err(|e| failed().caused_by(e))?;
    if status.success() { Ok(()) } else { Err(failed()) }
}

/// A refusal because the key was taken away; nothing while the key serves.
async fn refusal(client: &Client, organization: OrganizationId) -> CliResult<Option<String>> {
    match client.use_organization_key(organization).await {
        Ok(()) => Ok(None),
        Err(error) if error.code() == Some(ErrorCode::KeyAway) => Ok(Some(error.to_string())),
        // Between two leases, or a service that is away: neither the one nor the other.
        Err(error) if error.code() == Some(ErrorCode::Unavailable) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn drill(client: &Client, ui: Ui, args: DrillArgs) -> CliResult {
    let organization = args.organization;
    let before = client.organization_key(organization).await?;
    if before.service == KeyService::Platform {
        return Err(CliError::new("the organization has left its own key")
            .hint("there is no key of its own to take away"));
    }
    if before.standing != KeyStanding::InForce {
        return Err(CliError::new(format!("the key is {}", before.standing.as_str()))
            .hint("a drill begins with a key that serves"));
    }
    client.use_organization_key(organization).await?;
    match &args.away {
        Some(line) => shell(line)?,
        None => ui.note("take the key away now, at its service; the drill waits"),
    }
    let patience = Duration::from_secs(u64::from(args.patience));
    let late = |half: &str| {
        CliError::new(format!("the key {half} within {} s", args.patience))
            .hint("`chorion org kms status` says how it stands")
    };
    let began = Instant::now();
    let refusal_text = loop {
        if let Some(text) = refusal(client, organization).await? {
            break text;
        }
        if began.elapsed() > patience {
            return Err(late("was not taken away"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let effect = began.elapsed();
    ui.line(format!("refused after {:.1} s: {refusal_text}", effect.as_secs_f64()));
    match &args.back {
        Some(line) => shell(line)?,
        None => ui.note("give the key back now; the drill waits"),
    }
    let began = Instant::now();
    while refusal(client, organization).await?.is_some() {
        if began.elapsed() > patience {
            return Err(late("did not come back"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let back = began.elapsed();
    let drill = Drill {
        effect_seconds: effect.as_secs_f64(),
        stated_seconds: before.effect_seconds,
        back_seconds: back.as_secs_f64(),
        refusal: refusal_text,
    };
    ui.line(format!(
        "taken away: effect after {:.1} s (stated: {} s at most); given back: in use after {:.1} s",
        drill.effect_seconds, drill.stated_seconds, drill.back_seconds
    ));
    ui.value(&drill);
    if args.away.is_some() && effect.as_secs_f64() > f64::from(before.effect_seconds) + 1.0 {
        return Err(CliError::new("the revocation took longer than what is stated"));
    }
    Ok(())
}
