//! `chorion keygen`, `seal`, `open`, `inspect` as a person runs them: what they make, what they refuse, and what they leave behind.

#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected ends there")]

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// Stands in every plaintext here, and nowhere else.
const CANARY: &str = "CANARY-GATTACA-8c1d";
const PASSPHRASE: &str = "Wörter sind länger";
/// The last of three segments begins here in a file for one recipient.
const HEADER_AND_PREFIX: usize = 1_216 + 128;
const SEALED_SEGMENT: usize = 65_552;

/// A folder to work in, and one for temporary files that has to stay empty.
struct Desk {
    folder: TempDir,
    temporary: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), temporary: tempfile::tempdir().unwrap() }
    }

    /// With the key pair `anna` and `anna.pub`, and a plaintext of three segments.
    fn with_key() -> Self {
        let desk = Self::new();
        desk.works(["keygen", "-o", "anna", "--no-passphrase"]);
        fs::write(desk.path("plain"), plaintext(2 * 65_536 + 1_000)).unwrap();
        desk
    }

    /// And that plaintext sealed to anna.
    fn with_sealed() -> Self {
        let desk = Self::with_key();
        desk.works(["seal", "plain", "-o", "sealed", "--to", "anna.pub"]);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chorion"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TMPDIR", self.temporary.path())
            .env_remove("CHORION_PASSPHRASE")
            .stdin(Stdio::null());
        command
    }

    fn run<const N: usize>(&self, arguments: [&str; N]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn works<const N: usize>(&self, arguments: [&str; N]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit code 1, a sentence and nothing on standard output; gives the sentence.
    fn refuses<const N: usize>(&self, arguments: [&str; N]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error: "), "{said}");
        said
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Starts a command with both ends of a pipe.
    fn start<const N: usize>(&self, arguments: [&str; N]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs a command with `input` on standard input.
    fn piped<const N: usize>(&self, arguments: [&str; N], input: &[u8]) -> Output {
        let mut child = self.start(arguments);
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // A command that refuses early stops reading: that is not this thread's concern.
            scope.spawn(move || stdin.write_all(input).is_ok());
            child.wait_with_output().unwrap()
        })
    }
}

fn plaintext(length: usize) -> Vec<u8> {
    CANARY.bytes().cycle().take(length).collect()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn contains(all: &[u8], part: &str) -> bool {
    all.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn a_key_pair_is_a_private_file_and_a_public_string() {
    let desk = Desk::new();
    let said = desk.works(["keygen", "-o", "anna", "--no-passphrase"]);
    assert!(said.starts_with("chorion1") && said.ends_with('\n'));
    let public = String::from_utf8(desk.read("anna.pub")).unwrap();
    assert_eq!(public.lines().last(), Some(said.trim_end()));
    assert_eq!(mode(&desk.path("anna")), 0o600);
    assert_eq!(desk.names(), ["anna", "anna.pub"]);
    assert!(!contains(public.as_bytes(), "secret"));

    let secret = desk.read("anna");
    assert!(
        desk.refuses(["keygen", "--output", "anna", "--no-passphrase"])
            .contains("anna is there already")
    );
    assert_eq!(desk.read("anna"), secret);
    desk.works(["keygen", "--output", "anna", "--no-passphrase", "--force"]);
    assert_ne!(desk.read("anna"), secret);
}

#[test]
fn a_key_without_a_passphrase_is_made_only_when_said_so() {
    let desk = Desk::new();
    let said = desk.refuses(["keygen", "-o", "anna"]);
    assert!(
        said.contains("a passphrase is needed") && said.contains("--passphrase-file"),
        "{said}"
    );
    let empty =
        desk.command(["keygen", "-o", "anna"]).env("CHORION_PASSPHRASE", "").output().unwrap();
    assert_eq!(empty.status.code(), Some(1));
    assert!(contains(&empty.stderr, "--no-passphrase"));
    assert_eq!(desk.names(), [""; 0]);
    let bare = desk.run(["keygen", "-o", "anna", "--no-passphrase"]);
    assert!(contains(&bare.stderr, "warning: the secret key is not protected"));
}

#[test]
fn a_locked_key_opens_with_its_passphrase_from_a_file_or_the_environment() {
    let desk = Desk::new();
    fs::write(desk.path("words"), format!("{PASSPHRASE}\n")).unwrap();
    fs::write(desk.path("plain"), CANARY).unwrap();
    desk.works(["keygen", "-o", "anna", "--passphrase-file", "words"]);
    desk.works(["seal", "plain", "-o", "sealed", "--to", "anna.pub"]);
    desk.works(["open", "sealed", "-o", "one", "--identity", "anna", "--passphrase-file", "words"]);
    let mut open = desk.command(["open", "sealed", "-o", "two", "--identity", "anna"]);
    assert!(open.env("CHORION_PASSPHRASE", PASSPHRASE).status().unwrap().success());
    assert_eq!((desk.read("one"), desk.read("two")), (CANARY.into(), CANARY.into()));

    let wrong = desk
        .command(["open", "sealed", "-o", "three", "--identity", "anna"])
        .env("CHORION_PASSPHRASE", "CANARY-passphrase")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(contains(&wrong.stderr, "the passphrase does not open it"));
    assert!(!contains(&wrong.stderr, "CANARY"));
    assert!(
        desk.refuses(["open", "sealed", "-o", "three", "--identity", "anna"])
            .contains("a passphrase is needed")
    );
    assert!(!desk.path("three").exists());
}

#[test]
fn what_was_sealed_opens_at_every_length_that_matters() {
    let desk = Desk::with_key();
    for length in [0, 1, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1, (9 << 20) + 77] {
        fs::write(desk.path("plain"), plaintext(length)).unwrap();
        desk.works(["seal", "plain", "-o", "sealed", "--to", "anna.pub", "--force"]);
        desk.works(["open", "sealed", "-o", "opened", "--identity", "anna", "--force"]);
        assert!(desk.read("opened") == plaintext(length), "{length} bytes");
        assert!(!contains(&desk.read("sealed"), CANARY), "{length} bytes");
        assert_eq!((mode(&desk.path("sealed")), mode(&desk.path("opened"))), (0o600, 0o600));
    }
    assert_eq!(desk.names(), ["anna", "anna.pub", "opened", "plain", "sealed"]);
}

#[test]
fn pipes_carry_what_files_do() {
    let desk = Desk::with_key();
    let plain = plaintext((3 << 20) + 5);
    let sealed = desk.piped(["seal", "-", "-o", "-", "--to", "anna.pub"], &plain);
    assert!(sealed.status.success());
    let opened = desk.piped(["open", "-", "-o", "-", "--identity", "anna"], &sealed.stdout);
    assert!(opened.status.success() && opened.stdout == plain);
    assert!(
        desk.piped(["open", "-", "-o", "opened", "--identity", "anna"], &sealed.stdout)
            .status
            .success()
    );
    assert!(desk.read("opened") == plain);

    let cut = desk.piped(["open", "-", "-o", "-", "--identity", "anna"], &sealed.stdout[..2 << 20]);
    assert_eq!(cut.status.code(), Some(1));
    assert!(plain.starts_with(&cut.stdout) && cut.stdout.len() < plain.len());
    let cut =
        desk.piped(["open", "-", "-o", "cut", "--identity", "anna"], &sealed.stdout[..2 << 20]);
    assert_eq!(cut.status.code(), Some(1));
    assert!(!desk.path("cut").exists());
    assert_eq!(desk.names(), ["anna", "anna.pub", "opened", "plain"]);
}

#[test]
fn each_recipient_opens_and_a_public_string_is_as_good_as_its_file() {
    let desk = Desk::with_key();
    let bert = desk.works(["keygen", "-o", "bert", "--no-passphrase"]);
    desk.works(["keygen", "-o", "carla", "--no-passphrase"]);
    desk.works([
        "seal",
        "plain",
        "-o",
        "sealed",
        "--to",
        "anna.pub",
        "--to",
        bert.trim(),
        "--to",
        "anna.pub",
    ]);
    let said: serde_json::Value =
        serde_json::from_str(&desk.works(["inspect", "sealed", "--json"])).unwrap();
    assert_eq!(
        (said["recipients"].as_u64(), said["plain_bytes"].as_u64()),
        (Some(2), Some(2 * 65_536 + 1_000))
    );
    for identity in ["anna", "bert"] {
        desk.works(["open", "sealed", "-o", "opened", "--identity", identity, "--force"]);
        assert!(desk.read("opened") == desk.read("plain"));
    }
    let said = desk.refuses(["open", "sealed", "-o", "other", "--identity", "carla"]);
    assert!(said.contains("none of its 2 wrapped keys is for it"), "{said}");
    assert!(!desk.path("other").exists());
}

/// A sealed file and what was done to it, and what is said of it.
fn damages(sealed: &[u8]) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let segment = |index: usize| {
        let start = HEADER_AND_PREFIX + index * SEALED_SEGMENT;
        sealed[start..sealed.len().min(start + SEALED_SEGMENT)].to_vec()
    };
    let flipped = |at: usize| {
        let mut sealed = sealed.to_vec();
        sealed[at] ^= 4;
        sealed
    };
    let built = |segments: &[usize]| {
        let mut built = sealed[..HEADER_AND_PREFIX].to_vec();
        segments.iter().for_each(|index| built.extend(segment(*index)));
        built
    };
    let mut spliced = built(&[0]);
    spliced.extend(vec![7; SEALED_SEGMENT]);
    spliced.extend(segment(2));
    vec![
        ("a bit of the mark", flipped(0), "does not begin like one"),
        ("a bit of the header length", flipped(11), "header is not valid"),
        ("a bit of the wrapped key", flipped(500), "does not open with this key"),
        ("a bit of the MAC", flipped(1_215), "header was altered"),
        ("a bit of the object's mark", flipped(1_216), "not a sealed object"),
        ("a bit of the salt", flipped(1_216 + 40), "header was altered"),
        ("a bit of segment 0", flipped(HEADER_AND_PREFIX), "segment 0 does not open"),
        (
            "a bit of a tag",
            flipped(HEADER_AND_PREFIX + 2 * SEALED_SEGMENT - 1),
            "segment 1 does not open",
        ),
        ("the last bit", flipped(sealed.len() - 1), "segment 2 does not open"),
        ("nothing left", Vec::new(), "does not begin like one"),
        ("cut in the header", sealed[..700].to_vec(), "cut short"),
        ("cut to header and prefix", sealed[..HEADER_AND_PREFIX].to_vec(), "cut short"),
        (
            "cut inside segment 1",
            sealed[..HEADER_AND_PREFIX + SEALED_SEGMENT + 99].to_vec(),
            "segment 1 does not open",
        ),
        ("cut after segment 1", built(&[0, 1]), "cut short"),
        ("cut by one byte", sealed[..sealed.len() - 1].to_vec(), "segment 2 does not open"),
        ("one byte more", [sealed, &[0]].concat(), "segment 2 does not open"),
        ("segments swapped", built(&[1, 0, 2]), "segment 0 does not open"),
        ("a segment doubled", built(&[0, 0, 1, 2]), "segment 1 does not open"),
        ("a segment dropped", built(&[0, 2]), "segment 1 does not open"),
        ("a segment of something else", spliced, "segment 1 does not open"),
    ]
}

#[test]
fn nothing_altered_opens_and_nothing_is_left_under_its_name() {
    let desk = Desk::with_sealed();
    let names = ["altered", "anna", "anna.pub", "plain", "sealed"];
    for (what, altered, sentence) in damages(&desk.read("sealed")) {
        fs::write(desk.path("altered"), &altered).unwrap();
        let said = desk.refuses(["open", "altered", "-o", "opened", "--identity", "anna"]);
        assert!(said.contains(sentence), "{what}: {said}");
        assert!(said.starts_with("error: altered was not opened\n"), "{what}: {said}");
        assert!(!said.contains("CANARY"), "{what}: {said}");
        assert_eq!(desk.names(), names, "{what}");

        let piped = desk.piped(["open", "-", "-o", "opened", "--identity", "anna"], &altered);
        assert_eq!(piped.status.code(), Some(1), "{what}, from a pipe");
        assert!(
            contains(&piped.stderr, sentence),
            "{what}, from a pipe: {}",
            String::from_utf8_lossy(&piped.stderr)
        );
        assert_eq!(desk.names(), names, "{what}, from a pipe");

        let through = desk.piped(["open", "-", "-o", "-", "--identity", "anna"], &altered);
        assert_eq!(through.status.code(), Some(1), "{what}, to a pipe");
        assert!(desk.read("plain").starts_with(&through.stdout), "{what}: unverified bytes left");
    }
    // A refusal replaces nothing either.
    fs::write(desk.path("opened"), "kept").unwrap();
    desk.refuses(["open", "altered", "-o", "opened", "--identity", "anna", "--force"]);
    assert_eq!(desk.read("opened"), b"kept");
}

#[test]
fn a_name_that_is_taken_is_not_written_over() {
    let desk = Desk::with_sealed();
    for arguments in [
        ["seal", "plain", "-o", "anna.pub", "--to", "anna.pub"],
        ["open", "sealed", "-o", "plain", "--identity", "anna"],
    ] {
        let before = desk.read(arguments[3]);
        let said = desk.refuses(arguments);
        assert!(said.contains("is there already") && said.contains("--force"), "{said}");
        assert_eq!(desk.read(arguments[3]), before);
    }
}

/// Feeds a command more than a pipe holds, so that it has worked on some when this returns, and then ends it.
fn kill_after(mut child: Child, input: &[u8]) {
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).unwrap();
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn a_kill_leaves_nothing_under_the_output_name_and_no_plaintext() {
    let desk = Desk::with_key();
    let plain = plaintext(6 << 20);
    let sealed = desk.piped(["seal", "-", "-o", "-", "--to", "anna.pub"], &plain).stdout;
    kill_after(desk.start(["open", "-", "-o", "opened", "--identity", "anna"]), &sealed[..5 << 20]);
    kill_after(desk.start(["seal", "-", "-o", "sealed", "--to", "anna.pub"]), &plain[..5 << 20]);
    assert!(!desk.path("opened").exists() && !desk.path("sealed").exists());
    fs::remove_file(desk.path("plain")).unwrap();
    for name in desk.names() {
        // Where the file system cannot keep a file without a name, a hidden one stays; here it can.
        assert!(["anna", "anna.pub"].contains(&name.as_str()), "{name} was left");
    }
    assert_eq!(fs::read_dir(desk.temporary.path()).unwrap().count(), 0);
}

#[test]
fn no_key_and_no_plaintext_stands_in_messages_or_temporary_files() {
    let desk = Desk::with_sealed();
    let secret = String::from_utf8(desk.read("anna")).unwrap();
    let secret = secret.lines().last().unwrap().strip_prefix("chorion-secret1").unwrap().to_owned();
    let mut said = Vec::new();
    for arguments in [
        vec!["keygen", "-o", "anna", "--no-passphrase"],
        vec!["open", "sealed", "-o", "opened", "--identity", "anna"],
        vec!["open", "sealed", "-o", "opened", "--identity", "anna"],
        vec!["open", "anna", "-o", "other", "--identity", "anna"],
        vec!["open", "sealed", "-o", "other", "--identity", "plain"],
        vec!["open", "sealed", "-o", "other", "--identity", "anna.pub"],
        vec!["seal", "plain", "-o", "other", "--to", "anna"],
        vec!["seal", "plain", "-o", "other", "--to", "plain"],
        vec!["inspect", "anna"],
        vec!["inspect", "plain"],
        vec!["inspect", "sealed"],
    ] {
        let output = desk.command(&arguments).output().unwrap();
        said.extend(output.stdout);
        said.extend(output.stderr);
    }
    assert!(contains(&said, "anna is a secret key, not a public string"));
    for part in [CANARY, &secret[..20], &secret[20..40]] {
        assert!(!contains(&said, part), "{part} was said");
    }
    assert!(!desk.path("other").exists());
    assert_eq!(fs::read_dir(desk.temporary.path()).unwrap().count(), 0);
}

/// The most memory a running process has had, in KiB.
fn peak_kib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_the_stream() {
    let desk = Desk::with_key();
    let sealed =
        desk.piped(["seal", "-", "-o", "-", "--to", "anna.pub"], &plaintext(64 << 20)).stdout;
    let plain = plaintext(64 << 20);
    let commands = [
        (desk.start(["seal", "-", "-o", "/dev/null", "--to", "anna.pub"]), &plain),
        (desk.start(["open", "-", "-o", "/dev/null", "--identity", "anna"]), &sealed),
    ];
    for (mut child, input) in commands {
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&input[..4 << 20]).unwrap();
        let early = peak_kib(&child);
        stdin.write_all(&input[4 << 20..]).unwrap();
        let late = peak_kib(&child);
        drop(stdin);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success(), "{said}");
        assert!(late - early < 4 * 1024, "{early} KiB after 4 MiB, {late} KiB after 64 MiB");
    }
}

#[test]
fn what_is_no_key_is_said_to_be_none() {
    let desk = Desk::with_sealed();
    for (to, sentence) in [
        ("chorion1abc", "was not copied whole"),
        ("nowhere", "nowhere could not be read"),
        ("plain", "too long"),
        ("anna", "is a secret key"),
    ] {
        let said = desk.refuses(["seal", "plain", "-o", "other", "--to", to]);
        assert!(said.contains(sentence), "{to}: {said}");
    }
    let said = desk.refuses(["open", "sealed", "-o", "other", "--identity", "anna.pub"]);
    assert!(said.contains("anna.pub gives no secret key") && said.contains("hint: "), "{said}");
    let said = desk.refuses(["seal", ".", "-o", "other", "--to", "anna.pub"]);
    assert!(said.contains(". is a folder"), "{said}");
    assert!(
        desk.refuses(["keygen", "-o", "-", "--no-passphrase"]).contains("does not go to a pipe")
    );
    assert_eq!(desk.run(["seal", "plain", "-o", "other"]).status.code(), Some(2), "usage");
    assert_eq!(desk.names(), ["anna", "anna.pub", "plain", "sealed"]);
}

#[test]
fn inspect_says_what_a_file_claims_and_refuses_impossible_lengths() {
    let desk = Desk::with_sealed();
    let said = desk.works(["inspect", "sealed"]);
    assert!(said.contains("chorion.file/1") && said.contains("132072 bytes"), "{said}");
    let piped = desk.piped(["inspect", "-", "--json"], &desk.read("sealed"));
    let piped: serde_json::Value = serde_json::from_slice(&piped.stdout).unwrap();
    assert_eq!(
        (piped["plain_bytes"].as_u64(), piped["proved"].as_bool()),
        (Some(132_072), Some(false))
    );
    fs::write(desk.path("cut"), &desk.read("sealed")[..HEADER_AND_PREFIX + SEALED_SEGMENT])
        .unwrap();
    assert!(desk.refuses(["inspect", "cut"]).contains("cut short"));
    fs::write(desk.path("bare"), &desk.read("sealed")[1_216..]).unwrap();
    assert!(desk.works(["inspect", "bare"]).contains("chorion.object/1"));
    let said = desk.refuses(["open", "bare", "-o", "other", "--identity", "anna"]);
    assert!(said.contains("bare sealed object"), "{said}");
}
