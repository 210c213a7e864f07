//! `chorion serve --config FILE`: the options of the hub from a file.
//!
//! The file is TOML, its names those of the options, so that there is one list of them: `listen = "0.0.0.0:8470"`,
//! `facility = ["/mnt/a", "/mnt/b"]`. It is turned into words that stand before those of the command line, which therefore win; a list
//! of both is both. A name that is no option is refused with the file's name.

use std::ffi::OsString;
use std::path::Path;

use clap::{ArgAction, Command};

use crate::report::{CliError, CliResult};

/// Not from a file: they say which file, or are about the output of one call.
const NOT_HERE: [&str; 3] = ["config", "help", "json"];

/// The words of the command line, with what a file says in its place before them.
pub(crate) fn expand(words: Vec<OsString>, cli: &Command) -> CliResult<Vec<OsString>> {
    let Some(place) = words.iter().position(|word| word == "serve").filter(|place| *place <= 2)
    else {
        return Ok(words);
    };
    let rest = &words[place + 1..];
    let named = rest.iter().enumerate().find_map(|(at, word)| {
        let text = word.to_str()?;
        match text.strip_prefix("--config=") {
            Some(file) => Some(OsString::from(file)),
            None if text == "--config" => rest.get(at + 1).cloned(),
            None => None,
        }
    });
    let Some(file) = named else { return Ok(words) };
    let serve = cli.find_subcommand("serve");
    let serve = serve.ok_or_else(|| CliError::new("this program has no `serve`"))?;
    let from_file = read(Path::new(&file), serve)?;
    let mut all = words[..=place].to_vec();
    all.extend(from_file);
    all.extend_from_slice(rest);
    Ok(all)
}

fn read(file: &Path, serve: &Command) -> CliResult<Vec<OsString>> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|e| CliError::new(format!("{shown} cannot be read")).caused_by(e))?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        CliError::new(format!("{shown} is not TOML: {}", e.message()))
    })?;
    let mut words = Vec::new();
    for (name, value) in table {
        let option = serve
            .get_arguments()
            .find(|option| option.get_long() == Some(name.as_str()))
            .filter(|_| !NOT_HERE.contains(&name.as_str()));
        let Some(option) = option else {
            return Err(CliError::new(format!("`{name}` in {shown} is no option of the hub"))
                .hint("`chorion serve --help` lists them; a name stands in the file without its dashes"));
        };
        let is_list = matches!(option.get_action(), ArgAction::Append);
        let values = match value {
            toml::Value::Array(values) if is_list => values,
            toml::Value::Array(_) => {
                return Err(CliError::new(format!("`{name}` in {shown} is one value, not a list")));
            }
            value => vec![value],
        };
        for value in values {
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                _ => {
                    return Err(CliError::new(format!(
                        "`{name}` in {shown} is neither a text nor a whole number"
                    )));
                }
            };
            words.push(format!("--{name}={text}").into());
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::{Cli, Command as Chosen};

    fn parsed(text: &str, more: &[&str]) -> Result<String, String> {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("hub.toml");
        std::fs::write(&file, text).unwrap();
        let mut words: Vec<OsString> = ["chorion", "serve", "--config"].map(Into::into).to_vec();
        words.push(file.into());
        words.extend(more.iter().map(Into::into));
        let words = expand(words, &Cli::command()).map_err(|e| e.to_string())?;
        let cli = Cli::try_parse_from(words).map_err(|e| e.to_string())?;
        let Chosen::Serve(args) = cli.command else { return Err("not serve".into()) };
        Ok(format!("{args:?}"))
    }

    #[test]
    fn a_file_says_what_the_command_line_leaves_open() {
        let text = "data = \"/srv/hub\"\nlisten = \"127.0.0.1:1\"\nfacility = [\"/a\", \"/b\"]\nvaults = 3\n";
        let args = parsed(text, &["--listen", "127.0.0.1:2"]).unwrap();
        assert!(args.contains("listen: 127.0.0.1:2"), "{args}");
        assert!(args.contains("vaults: 3") && args.contains("\"/srv/hub\""), "{args}");
        assert!(args.contains("\"/a\"") && args.contains("\"/b\""), "{args}");
    }

    #[test]
    fn what_is_no_option_is_refused_by_its_name() {
        for (text, said) in [
            ("dta = \"/x\"", "`dta`"),
            ("config = \"/x\"", "`config`"),
            ("data = [\"/x\"]", "`data`"),
            ("vaults = 1.5", "`vaults`"),
            ("data = ", "not TOML"),
        ] {
            let error = parsed(text, &[]).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_file_that_comes_with_the_program_names_every_option_and_is_read() {
        let text = include_str!("../../../deploy/hub.toml");
        let cli = Cli::command();
        let serve = cli.find_subcommand("serve").unwrap();
        for option in serve.get_arguments().filter_map(|option| option.get_long()) {
            let is_there = text
                .lines()
                .any(|line| line.trim_start_matches("# ").starts_with(&format!("{option} = ")));
            assert_eq!(is_there, !NOT_HERE.contains(&option), "{option}");
        }
        parsed(text, &[]).unwrap();
        // And every line that is commented out is right as well.
        let all: Vec<&str> = text
            .lines()
            .map(|line| {
                line.strip_prefix("# ")
                    .filter(|rest| {
                        rest.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '))
                    })
                    .unwrap_or(line)
            })
            .collect();
        let mut seen = std::collections::HashSet::new();
        let once: Vec<&str> = all
            .into_iter()
            .filter(|line| {
                line.starts_with('#')
                    || line.split_once(" = ").is_none_or(|(name, _)| seen.insert(name.to_owned()))
            })
            .collect();
        parsed(&once.join("\n"), &[]).unwrap();
    }
}
