//! `chorion account password`: by which name and password you sign in with a browser. The password is read from the terminal
//! or a file, never from the command line, where every program of the machine could read it.

use std::io::IsTerminal;
use std::path::PathBuf;

use api::{Secret, SetPassword};
use clap::Args;
use zeroize::Zeroizing;

use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};

/// What sets a password.
#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    /// The name to sign in by: letters, digits and `. _ @ + -`.
    sign_in_name: String,
    /// Read the password from the first line of this file instead of asking.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(crate) async fn set(args: PasswordArgs, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let password = match &args.password_file {
        Some(path) => from_file(path)?,
        None => asked()?,
    };
    let body =
        SetPassword { sign_in_name: args.sign_in_name.clone(), password: Secret::new(password) };
    ctx.client.set_password(&body).await?;
    ui.line(format!("sign in at {}/sign-in as {}", ctx.client.hub(), args.sign_in_name));
    ui.line("every browser that was signed in is signed out".to_owned());
    ui.value(&serde_json::json!({ "sign_in_name": args.sign_in_name }));
    Ok(())
}

fn from_file(path: &PathBuf) -> CliResult<Zeroizing<String>> {
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|e| CliError::new(format!("{} cannot be read", path.display())).caused_by(e))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(CliError::new(format!("the first line of {} is empty", path.display())));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

fn asked() -> CliResult<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::new("there is no terminal to ask for the password")
            .hint("pass --password-file FILE"));
    }
    let prompt = |text| {
        rpassword::prompt_password(text)
            .map(Zeroizing::new)
            .map_err(|e| CliError::new("the terminal cannot be read").caused_by(e))
    };
    let first = prompt("New password (at least 12 characters): ")?;
    let again = prompt("The same once more: ")?;
    if first == again { Ok(first) } else { Err(CliError::new("the two are not the same")) }
}
