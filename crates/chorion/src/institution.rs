//! The institution whose people may sign in at a hub, as the command line names it (`OpenID` Connect).

use std::path::PathBuf;

use api::Secret;
use clap::Args;
use hub::InstitutionConfig;
use zeroize::Zeroizing;

use crate::report::{CliError, CliResult};

/// An institution whose people may sign in.
#[derive(Debug, Args)]
#[command(next_help_heading = "Institution")]
pub(crate) struct InstitutionArgs {
    /// Its issuer, exactly as it writes it. It sends people back to `https://NAME/sign-in/institution/return`. Nobody gets an
    /// account by being known there: the one-time code of an invitation links the two, once.
    #[arg(long, value_name = "URL", requires_all = ["oidc_client_id", "oidc_client_secret_file"])]
    oidc_issuer: Option<String>,
    /// Who this hub is to the institution.
    #[arg(long, value_name = "ID", requires = "oidc_issuer")]
    oidc_client_id: Option<String>,
    /// The file whose first line proves that.
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    oidc_client_secret_file: Option<PathBuf>,
    /// The authority of the institution's certificate, PEM; those of this machine if absent.
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    oidc_ca: Option<PathBuf>,
}

impl InstitutionArgs {
    /// The institution, with what proves this hub to it.
    pub(crate) fn read(self) -> CliResult<Option<InstitutionConfig>> {
        let (Some(issuer), Some(client_id), Some(file)) =
            (self.oidc_issuer, self.oidc_client_id, self.oidc_client_secret_file)
        else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(&file).map(Zeroizing::new).map_err(|e| {
            CliError::new(format!("{} cannot be read", file.display())).caused_by(e)
        })?;
        let secret = text.lines().next().unwrap_or_default().trim();
        if secret.is_empty() {
            return Err(CliError::new(format!("the first line of {} is empty", file.display())));
        }
        Ok(Some(InstitutionConfig {
            issuer,
            client_id,
            client_secret: Secret::new(Zeroizing::new(secret.to_owned())),
            ca_file: self.oidc_ca,
        }))
    }
}
