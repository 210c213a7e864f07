//! `chorion words` and `chorion identity` as a person runs them: what is shown where, what is kept, and where no word may ever be found.

#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected ends there")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const PASSPHRASE: &str = "Wörter sind länger";
/// Hardhat's published words and account.
const JUNK: &str = "test test test test test test test test test test test junk";
const JUNK_ACCOUNT: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("temporary")).unwrap();
        Self { folder }
    }

    /// With the identity of the published words.
    fn with_identity() -> Self {
        let desk = Self::new();
        let restored = desk.piped(&["words", "restore"], &format!("{JUNK}\n"));
        assert!(restored.status.success(), "{}", text(&restored.stderr));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chorion"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TMPDIR", self.path("temporary"))
            .env("CHORION_HOME", self.path("home"))
            .env("CHORION_PASSPHRASE", PASSPHRASE)
            .stdin(Stdio::null());
        command
    }

    fn works(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn refuses(&self, arguments: &[&str]) -> String {
        said(&self.command(arguments).output().unwrap())
    }

    fn piped(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.start(arguments);
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Every file under the desk.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut folders = vec![self.folder.path().to_owned()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        files
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The sentence of a command that ended with 1 and printed no result.
fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    text(&output.stderr)
}

/// New words by a script: they come on standard output, and are typed back.
fn draw(desk: &Desk, arguments: &[&str], typed: impl Fn(&str) -> String) -> (String, Output) {
    let mut child = desk.start(&[&["words", "new", "--print-words"], arguments].concat());
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut words = String::new();
    out.read_line(&mut words).unwrap();
    let pid = child.id();
    // While it waits for the words: locked memory, no core dump.
    let about = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let limits = about("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let locked =
        about("status").lines().any(|line| line.starts_with("VmLck:") && !line.contains(" 0 kB"));
    // A process that cannot be dumped shows its map to root alone.
    match fs::read_to_string(format!("/proc/{pid}/maps")) {
        Ok(maps) => assert!(maps.contains("secretmem") || locked, "words lie in no locked memory"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
    }
    writeln!(child.stdin.take().unwrap(), "{}", typed(words.trim())).unwrap();
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    let mut output = child.wait_with_output().unwrap();
    output.stdout = rest;
    (words.trim().to_owned(), output)
}

#[test]
fn words_that_are_typed_back_are_kept_and_found_nowhere() {
    let desk = Desk::new();
    let (words, output) = draw(&desk, &[], ToOwned::to_owned);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let file = desk.path("home/identity");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // The canary: three words in a row, in no file and not in what was said.
    let rows: Vec<String> =
        words.split(' ').collect::<Vec<_>>().windows(3).map(|w| w.join(" ")).collect();
    let mut places = desk.files();
    places.push((PathBuf::from("standard error"), output.stderr));
    for (path, bytes) in places {
        let content = text(&bytes);
        assert!(!rows.iter().any(|row| content.contains(row)), "words stand in {}", path.display());
    }
    assert!(fs::read_dir(desk.path("temporary")).unwrap().next().is_none());
    let checked = desk.piped(&["words", "check", "--identity", "home/identity"], &words);
    assert!(text(&checked.stdout).contains("they are the words of the identity file"));
    let other = desk.piped(&["words", "check", "--identity", "home/identity"], JUNK);
    assert!(said(&other).contains("these are not the words of home/identity"));
}

#[test]
fn words_that_are_typed_back_wrong_are_not_kept() {
    let desk = Desk::new();
    let (words, output) = draw(&desk, &[], |words| {
        let (first, rest) = words.split_once(' ').unwrap();
        format!("{} {rest}", if first == "zoo" { "zone" } else { "zoo" })
    });
    let message = said(&output);
    assert!(
        message.contains("word 1 that was typed back is not the one that was shown"),
        "{message}"
    );
    assert!(!desk.path("home/identity").exists());
    assert!(!message.contains(words.split(' ').next().unwrap()));
}

#[test]
fn words_are_shown_to_nobody_but_a_terminal_unless_asked() {
    let desk = Desk::new();
    for arguments in [&["words", "new"][..], &["--json", "words", "new"]] {
        let refused = desk.refuses(arguments);
        assert!(refused.contains("shown on a terminal only"), "{refused}");
    }
    assert!(!desk.path("home/identity").exists());
}

/// Through a real terminal, which `script` gives: the words appear, Enter, twelve words typed, and the file is there.
#[test]
fn a_person_at_a_terminal_sees_the_words_types_them_and_has_the_file() {
    let desk = Desk::new();
    let program = env!("CARGO_BIN_EXE_chorion");
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command"])
        .arg(format!("'{program}' words new"))
        .arg("/dev/null")
        .current_dir(desk.folder.path())
        .env("CHORION_HOME", desk.path("home"))
        .env("CHORION_PASSPHRASE", PASSPHRASE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("script is not here ({error}): testing/setup.sh test"));
    let mut screen = child.stdout.take().unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    let mut seen = Vec::new();
    let mut until = |what: &str| {
        let mut byte = [0];
        while !text(&seen).contains(what) {
            assert_eq!(screen.read(&mut byte).unwrap(), 1, "it ended: {}", text(&seen));
            seen.push(byte[0]);
        }
        text(&std::mem::take(&mut seen))
    };
    let shown = until("wiped off the screen then. ");
    let mut words = vec![String::new(); 12];
    for (number, word) in numbered(&shown) {
        words[number - 1] = word;
    }
    assert!(words.iter().all(|word| !word.is_empty()), "{shown}");
    assert!(shown.contains("Nobody can restore it"), "{shown}");
    keyboard.write_all(b"\n").unwrap();
    until("from the paper:");
    writeln!(keyboard, "{}", words.join(" ").replacen(&words[0], "zzz", 1)).unwrap();
    until("word 1 that was typed back is not the one");
    until("wiped off the screen then. ");
    keyboard.write_all(b"\n").unwrap();
    until("from the paper:");
    writeln!(keyboard, "{}", words.join(" ")).unwrap();
    until("identity file: ");
    drop(keyboard);
    assert!(child.wait().unwrap().success());
    assert!(desk.path("home/identity").exists());
}

/// ` 7. word` wherever it stands.
fn numbered(screen: &str) -> Vec<(usize, String)> {
    let parts: Vec<&str> = screen.split_whitespace().collect();
    parts
        .windows(2)
        .filter_map(|pair| {
            let number = pair[0].strip_suffix('.')?.parse().ok()?;
            (1..=12).contains(&number).then(|| (number, pair[1].to_owned()))
        })
        .collect()
}

#[test]
fn published_words_give_the_published_account_each_time() {
    let desk = Desk::with_identity();
    assert_eq!(desk.works(&["identity", "show", "--format", "ethereum"]).trim(), JUNK_ACCOUNT);
    let all = desk.works(&["identity", "show", "--format", "json"]);
    assert_eq!(Desk::with_identity().works(&["identity", "show", "--format", "json"]), all);
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all["ethereum"], JUNK_ACCOUNT);
    for (format, holds) in [
        ("card", all["sealing"].as_str().unwrap()),
        ("openpgp", "-----BEGIN PGP PUBLIC KEY BLOCK-----"),
        ("x509", "-----BEGIN CERTIFICATE-----"),
        ("ssh", "ssh-ed25519 "),
    ] {
        assert!(desk.works(&["identity", "show", "--format", format]).contains(holds), "{format}");
    }
}

#[test]
fn a_passphrase_of_the_words_gives_other_keys_and_is_not_in_the_file() {
    let desk = Desk::new();
    fs::write(desk.path("own"), "second\n").unwrap();
    let own = ["--words-passphrase-file", "own"];
    let restored = desk.piped(&[&["words", "restore", "-o", "two"][..], &own].concat(), JUNK);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let show = ["identity", "show", "--identity", "two", "--format", "ethereum"];
    assert_ne!(desk.works(&[&show[..], &own].concat()).trim(), JUNK_ACCOUNT);
    fs::write(desk.path("own"), "Second\n").unwrap();
    let refused = desk.refuses(&[&show[..], &own].concat());
    assert!(refused.contains("the words' own passphrase is another"), "{refused}");
}

#[test]
fn mistyped_words_are_named_by_place_and_never_repeated() {
    let desk = Desk::new();
    for (typed, expected) in [
        ("test test", "there are 2 words, and it takes 12"),
        (&JUNK.replacen("test", "tesst", 1)[..], "word 1 is not in the BIP-39 list"),
        (&JUNK.replace("junk", "jungle"), "the checksum of the words does not match"),
    ] {
        for command in ["check", "restore"] {
            let refused = said(&desk.piped(&["words", command], typed));
            assert!(refused.contains(expected), "{refused}");
            assert!(!refused.contains("tesst") && !refused.contains("jungle"), "{refused}");
        }
    }
    assert!(!desk.path("home/identity").exists());
}

#[test]
fn a_wrong_passphrase_and_a_damaged_file_are_told_apart() {
    let desk = Desk::with_identity();
    let show = |desk: &Desk| {
        let mut command = desk.command(&["identity", "show"]);
        said(&command.env("CHORION_PASSPHRASE", "wrong").output().unwrap())
    };
    assert!(show(&desk).contains("the passphrase does not open it"));
    let file = desk.path("home/identity");
    let damaged = fs::read_to_string(&file).unwrap().replacen("identity1", "identity1a", 1);
    fs::write(&file, damaged).unwrap();
    assert!(show(&desk).contains("its check does not match"));
    let missing = desk.refuses(&["identity", "show", "--identity", "nowhere"]);
    assert!(missing.contains("chorion words new"), "{missing}");
    let taken = said(&desk.piped(&["words", "restore"], JUNK));
    assert!(taken.contains("is there already"), "{taken}");
}

/// GnuPG with a home of its own; its agent ends with it.
struct Gnu(TempDir);

impl Gnu {
    fn works(&self, folder: &Path, arguments: &[&str]) {
        let output = Command::new("gpg")
            .env("GNUPGHOME", self.0.path())
            .args(["--batch", "--yes", "--no-tty", "--quiet", "--trust-model", "always"])
            .args(["--pinentry-mode", "loopback", "--passphrase", ""])
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("gpg is not here ({error}): testing/setup.sh test"));
        assert!(output.status.success(), "gpg {arguments:?}: {}", text(&output.stderr));
    }
}

impl Drop for Gnu {
    fn drop(&mut self) {
        drop(
            Command::new("gpgconf")
                .env("GNUPGHOME", self.0.path())
                .args(["--kill", "all"])
                .output(),
        );
    }
}

#[test]
fn gnupg_and_a_person_exchange_messages() {
    let desk = Desk::with_identity();
    let gnu = Gnu(tempfile::tempdir_in("/tmp").unwrap());
    let here = desk.folder.path();
    let certificate = desk.works(&[
        "identity",
        "show",
        "--format",
        "openpgp",
        "--user-id",
        "Anna <anna@example.org>",
    ]);
    fs::write(desk.path("anna.asc"), certificate).unwrap();
    gnu.works(here, &["--import", "anna.asc"]);
    gnu.works(here, &["--quick-gen-key", "Bert <bert@example.org>", "ed25519", "sign", "never"]);
    gnu.works(here, &["--output", "bert.pgp", "--export", "bert@example.org"]);
    fs::write(desk.path("letter"), "GATTACA\n").unwrap();

    desk.works(&["identity", "sign", "letter", "-o", "letter.asc"]);
    gnu.works(here, &["--verify", "letter.asc", "letter"]);
    desk.works(&[
        "identity",
        "sign",
        "letter",
        "-o",
        "inline",
        "--as",
        "openpgp-inline",
        "--binary",
    ]);
    gnu.works(here, &["--output", "taken", "--decrypt", "inline"]);
    assert_eq!(fs::read(desk.path("taken")).unwrap(), b"GATTACA\n");

    gnu.works(
        here,
        &["--output", "sealed", "--sign", "--encrypt", "--recipient", "anna@example.org", "letter"],
    );
    let opened =
        desk.works(&["--json", "identity", "open", "sealed", "-o", "opened", "--from", "bert.pgp"]);
    assert_eq!(fs::read(desk.path("opened")).unwrap(), b"GATTACA\n");
    let opened: Value = serde_json::from_str(&opened).unwrap();
    assert_eq!(
        (&opened["encrypted"], &opened["signatures"][0]["good"]),
        (&true.into(), &true.into())
    );

    gnu.works(
        here,
        &["--output", "unsigned", "--encrypt", "--recipient", "anna@example.org", "letter"],
    );
    let refused =
        desk.refuses(&["identity", "open", "unsigned", "-o", "never", "--from", "bert.pgp"]);
    assert!(refused.contains("bears no signature by a certificate that was given"), "{refused}");
    assert!(!desk.path("never").exists());

    gnu.works(here, &["--output", "letter.sig", "--detach-sign", "letter"]);
    desk.works(&["identity", "open", "letter.sig", "--data", "letter", "--from", "bert.pgp"]);
    fs::write(desk.path("letter"), "GATTACC\n").unwrap();
    let refused =
        desk.refuses(&["identity", "open", "letter.sig", "--data", "letter", "--from", "bert.pgp"]);
    assert!(refused.contains("the data or the signature was altered"), "{refused}");
}
