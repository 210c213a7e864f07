//! Apps at a hub: registering a package, listing, finding one by name.

use std::path::PathBuf;

use api::{App, AppId, Digest, ProjectId, RegisterApp};
use clap::Args;

use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};

/// A package to register.
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// The package that `chorion app pack` made.
    package: PathBuf,
    /// The project that holds the package; its members may launch the app.
    #[arg(long)]
    project: ProjectId,
}

/// Sends a package and registers it.
pub(crate) async fn register(args: RegisterArgs, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let front = vault::app::package::read_front(&args.package).map_err(|e| {
        CliError::new(format!("{} is no app package", args.package.display())).caused_by(e)
    })?;
    let manifest = &front.manifest;
    let name = manifest.full_name();
    let inside = "package.chorionapp";
    let package =
        crate::import::package(&ctx, ui, args.project, &name, inside, args.package).await?;
    let app = RegisterApp {
        id: AppId::generate(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        title: manifest.title.clone(),
        digest: Digest(*front.head.app_digest.as_bytes()),
        package: package.id,
        manifest: String::from_utf8(manifest.canonical())
            .expect("a canonical manifest is UTF-8 because it is JSON"),
    };
    let app = ctx.client.register_app(&app).await?;
    ui.line(format!(
        "app {} {} is registered as {} with digest {}",
        app.name, app.version, app.id, app.digest
    ));
    ui.value(&app);
    Ok(())
}

/// Lists the apps that may be launched.
pub(crate) async fn list(ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let apps = ctx.client.apps().all().await?;
    if apps.is_empty() {
        ui.line("no apps yet: `chorion app register PACKAGE --project ID` adds one");
    }
    for app in &apps {
        ui.line(format!("{}  {} {}  {}", app.id, app.name, app.version, app.title));
    }
    ui.value(&apps);
    Ok(())
}

/// The app that a person means: by id, by name and version, or the newest of that name.
pub(crate) async fn find(ctx: &ClientContext, wanted: &str) -> CliResult<App> {
    if let Ok(id) = wanted.parse::<AppId>() {
        return Ok(ctx.client.app(id).await?);
    }
    let (name, version) = match wanted.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (wanted, None),
    };
    let apps = ctx.client.apps().all().await?;
    let fits = |app: &&App| app.name == name && version.is_none_or(|v| app.version == v);
    apps.iter().filter(fits).max_by_key(|app| app.created).cloned().ok_or_else(|| {
        CliError::new(format!("there is no app `{wanted}` that you may launch"))
            .hint("`chorion app list` shows those there are")
    })
}
