//! The sandbox from the inside, by a program that tries to get out: a root with this machine's `perl`, `sh` and `sleep`, which
//! every Debian has, and what they link to.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::*;
use crate::app::package::{self, BillOfMaterials};
use crate::app::tree::{MOUNT_POINTS, Node, Staging, Tree};
use crate::app::{AppCache, Manifest};

const MANIFEST: &str = r#"
format = "chorion.app/1"
name = "escape"
version = "0.0.1"
title = "Escape"
summary = "Tries to leave the sandbox"
licence = "Apache-2.0"
[[output]]
name = "all"
glob = "*"
kind = "file"
cap = "1 MiB"
[command]
argv = ["sh"]
[resources]
cpus = 1
memory = "64 MiB"
disk = "1 MiB"
wall_time = "1 min"
[root]
packages = ["perl-base"]
"#;

/// Files that `program` maps when it starts, as the dynamic loader says.
fn linked(program: &str) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

fn app() -> Option<&'static VerifiedApp> {
    static APP: OnceLock<(tempfile::TempDir, VerifiedApp)> = OnceLock::new();
    if bubblewrap().is_err() {
        println!("skipped: not here (bubblewrap)");
        return None;
    }
    let (_folder, app) = APP.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::below(folder.path()).unwrap();
        let mut tree = Tree::default();
        let programs = ["perl", "sh", "sleep", "cat", "ls"].map(|name| format!("/usr/bin/{name}"));
        let files: BTreeSet<PathBuf> = programs
            .iter()
            .flat_map(|program| linked(program).into_iter().chain([PathBuf::from(program)]))
            .collect();
        for file in files {
            let mut opened = File::open(&file).unwrap();
            let (bytes, sha256) = staging.add(&mut opened, 1 << 30).unwrap();
            let path = file.to_str().unwrap().trim_start_matches('/');
            tree.put(path, Node::File { program: true, bytes, sha256 }, false).unwrap();
        }
        for point in MOUNT_POINTS {
            tree.put(point, Node::Folder, false).unwrap();
        }
        let manifest = Manifest::parse(MANIFEST).unwrap();
        let file = folder.path().join("app");
        let bill = BillOfMaterials::default();
        let head = package::write(File::create(&file).unwrap(), &manifest, &bill, &tree, &staging)
            .unwrap();
        let cache = AppCache::open(&folder.path().join("cache")).unwrap();
        let app = cache.install(&file, Some(head.app_digest)).unwrap().verify().unwrap();
        (folder, app)
    });
    Some(app)
}

const LIMITS: Limits = Limits {
    cpus: 1,
    memory_bytes: 64 << 20,
    scratch_bytes: 1 << 20,
    output_bytes: 1 << 20,
    processes: 32,
    wall: Duration::from_secs(60),
};

fn spec<'a>(
    app: &'a VerifiedApp,
    argv: &'a [String],
    env: &'a BTreeMap<String, String>,
) -> Spec<'a> {
    Spec { app, argv, env, inputs: &[], limits: LIMITS }
}

fn argv(program: &str, script: &str) -> Vec<String> {
    let option = if program == "perl" { "-e" } else { "-c" };
    [program, option, script].map(str::to_owned).into()
}

fn run_script(app: &VerifiedApp, program: &str, script: &str, limits: Limits) -> Finished {
    let (argv, env) = (argv(program, script), BTreeMap::new());
    let spec = Spec { limits, ..spec(app, &argv, &env) };
    run(&spec, &Stop::default(), &mut |_, _| {}).unwrap()
}

fn sh(app: &VerifiedApp, script: &str) -> (End, String) {
    let finished = run_script(app, "sh", script, LIMITS);
    let text = String::from_utf8(finished.stdout).unwrap();
    (finished.end, text + &String::from_utf8(finished.stderr).unwrap())
}

#[test]
fn the_program_ends_with_its_own_code_and_its_prints_are_apart() {
    let Some(app) = app() else { return };
    let finished = run_script(app, "sh", "echo out; echo err >&2; exit 3", LIMITS);
    assert_eq!(finished.end, End::Exited(3));
    assert_eq!((&finished.stdout[..], &finished.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(sh(app, "kill -9 $$").0, End::Exited(137));
}

#[test]
fn nothing_of_the_host_is_there() {
    let Some(app) = app() else { return };
    let marker = tempfile::tempdir().unwrap();
    std::fs::write(marker.path().join("secret"), "host").unwrap();
    let script = format!(
        "ls -A /; ls -A /etc /home /root /work /sys {} 2>&1; cat {}/secret; echo *; set",
        marker.path().display(),
        marker.path().display()
    );
    let (_end, text) = sh(app, &script);
    let top: Vec<&str> = text.lines().take_while(|line| !line.contains("cannot")).collect();
    assert_eq!(top, ["data", "dev", "lib", "lib64", "proc", "run", "tmp", "usr"], "{text}");
    assert_eq!(text.matches("No such file or directory").count(), 7, "{text}");
    for (name, value) in std::env::vars() {
        // Only what this side sets by itself may be there.
        let ours = ["PATH", "HOME", "TMPDIR", "LC_ALL", "TZ", "PWD", "OLDPWD", "SHLVL", "IFS", "_"];
        if !ours.contains(&name.as_str()) && !name.starts_with("PS") && !name.starts_with("OPT") {
            assert!(!text.contains(&format!("{name}='{value}'")), "{name} came in:\n{text}");
        }
    }
    // The process list is its own: two processes, or three while one prints.
    let (_end, text) = sh(app, "ls /proc");
    assert!(text.lines().filter(|line| line.parse::<u32>().is_ok()).count() <= 3, "{text}");
}

#[test]
fn it_is_nobody_without_capabilities_under_a_filter() {
    let Some(app) = app() else { return };
    let (_end, text) = sh(app, "cat /proc/self/status; cat /proc/sys/kernel/hostname");
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(value("Uid:"), "65534 65534 65534 65534");
    assert_eq!(value("Gid:"), "65534 65534 65534 65534");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    assert_eq!((value("NoNewPrivs:"), value("Seccomp:")), ("1".to_owned(), "2".to_owned()));
    assert!(text.trim_end().ends_with("vault"), "{text}");
}

#[test]
fn calls_that_lead_outside_are_answered_as_if_they_did_not_exist() {
    let Some(app) = app() else { return };
    let namespaces =
        [0x1000_0000, 0x0002_0000, 0x4000_0000].map(|flag| (libc::SYS_clone, flag | 17));
    let families =
        [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_VSOCK]
            .map(|family| (libc::SYS_socket, i64::from(family)));
    let others = [
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_clone3,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_open_by_handle_at,
        libc::SYS_fsopen,
        libc::SYS_open_tree,
    ]
    .map(|call| (call, 0));
    // The x32 way in: the same numbers with bit 30 set.
    let x32 = [(libc::SYS_getpid | 0x4000_0000, 0)];
    for (call, first) in namespaces.into_iter().chain(families).chain(others).chain(x32) {
        let script = format!(
            "my $r = syscall({call}, {first}, 1, 0, 0, 0); print $r == -1 ? $! + 0 : 'allowed'"
        );
        let finished = run_script(app, "perl", &script, LIMITS);
        let said = String::from_utf8_lossy(&finished.stdout).into_owned();
        assert_eq!(said, libc::ENOSYS.to_string(), "system call {call} with {first}");
    }
    let (unix, getpid) = (libc::SYS_socket, libc::SYS_getpid);
    let script = format!("exit(syscall({unix}, 1, 1, 0) >= 0 && syscall({getpid}) > 0 ? 0 : 1)");
    assert_eq!(run_script(app, "perl", &script, LIMITS).end, End::Exited(0));
}

#[test]
fn root_and_inputs_are_read_only_and_inputs_are_the_listed_ones() {
    let Some(app) = app() else { return };
    let host = Scratch::in_memory().unwrap();
    let file = host.path().join("reads");
    std::fs::write(&file, "ACGT").unwrap();
    std::fs::write(host.path().join("other"), "not listed").unwrap();
    let script = "ls -R /data/input; cat /data/input/a/reads; cd /tmp
        for place in /usr/bin/x /x /data/x /data/input/x /data/input/a/reads /dev/x /proc/sys/kernel/hostname; do
            echo w > $place && echo \"wrote $place\"
        done 2>/dev/null
        echo w > /tmp/x && echo w > /dev/shm/x && echo w > /data/output/x && echo places";
    let (argv, env) = (argv("sh", script), BTreeMap::new());
    let inputs = [Mount { host: file.clone(), guest: "a/reads".to_owned() }];
    let spec = Spec { inputs: &inputs, ..spec(app, &argv, &env) };
    let finished = run(&spec, &Stop::default(), &mut |_, _| {}).unwrap();
    let text = String::from_utf8(finished.stdout).unwrap();
    assert_eq!(text, "/data/input:\na\n\n/data/input/a:\nreads\nACGTplaces\n");
    assert_eq!(std::fs::read(&file).unwrap(), b"ACGT");
    for guest in ["../x", "/x", "a/../b", ""] {
        let inputs = [Mount { host: file.clone(), guest: guest.to_owned() }];
        let spec = Spec { inputs: &inputs, ..spec };
        let refused = run(&spec, &Stop::default(), &mut |_, _| {});
        assert!(matches!(refused, Err(SandboxError::Input { .. })), "{guest}");
    }
}

#[test]
fn nothing_of_proc_can_be_written() {
    let Some(app) = app() else { return };
    // Opens every file for writing and says which let it; 1 is O_WRONLY. Processes come and go, so only this one's own.
    let script = r#"sub look { my $place = shift; opendir(my $d, $place) or return; for (readdir $d) {
            next if /^\.\.?$/; next if $place eq '/proc' && /^[0-9]+$/; my $file = "$place/$_"; next if -l $file;
            if (-d _) { look($file) } elsif (sysopen(my $f, $file, 1)) { print "$file\n" } else { $n++ } } }
        look('/proc'); look('/proc/self/'); print "$n" if $n < 500"#;
    let finished = run_script(app, "perl", script, LIMITS);
    assert_eq!(String::from_utf8(finished.stdout).unwrap(), "", "{:?}", finished.end);
}

#[test]
fn outputs_outlive_the_sandbox_and_links_among_them_lead_nowhere() {
    let Some(app) = app() else { return };
    let script =
        "mkdir('/data/output/sub'); open(F, '>/data/output/sub/b'); print F 'made'; close F;
        open(F, '>/data/output/a'); close F; symlink('/etc/passwd', '/data/output/link');
        symlink('/etc', '/data/output/folder'); syscall(133, '/data/output/pipe', 0010644, 0)";
    let finished = run_script(app, "perl", script, LIMITS);
    let outputs = finished.outputs;
    let paths: Vec<_> = outputs.files().iter().map(|file| (&*file.path, file.bytes)).collect();
    assert_eq!(paths, [("a", 0), ("sub/b", 4)]);
    assert!(outputs.ignored().starts_with(&["folder".to_owned(), "link".to_owned()]));
    let mut text = String::new();
    outputs.open("sub/b").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "made");
    for path in ["link", "folder/passwd", "../a", "/etc/passwd", "sub/../../a"] {
        assert!(outputs.open(path).is_err(), "{path}");
    }
}

#[test]
fn what_is_left_in_the_background_is_ended_before_outputs_are_looked_at() {
    let Some(app) = app() else { return };
    let script = "if (!fork) { setpgrp; close STDOUT; close STDERR;
            while (1) { open(F, '>>/data/output/late'); print F 'x'; close F } }
        until (-s '/data/output/late') {} exit 0";
    let finished = run_script(app, "perl", script, Limits { output_bytes: 16 << 20, ..LIMITS });
    assert_eq!(finished.end, End::Exited(0));
    let listed = finished.outputs.files()[0].bytes;
    assert_eq!(finished.outputs.open("late").unwrap().metadata().unwrap().len(), listed);
}

#[test]
fn memory_is_held() {
    let Some(app) = app() else { return };
    // Alone, and spread over children that each take less than all.
    for script in [
        "my $x = 'x' x (512 << 20); print 'had it'",
        "for (1..8) { if (!fork) { my $x = 'x' x (24 << 20); sleep 60 } } sleep 5; print 'had it'",
    ] {
        let limits = Limits { memory_bytes: 32 << 20, scratch_bytes: 0, ..LIMITS };
        let finished = run_script(app, "perl", script, limits);
        assert!(!finished.end.is_success(), "{:?}", finished.held);
        if finished.held.memory != Holder::Watch {
            assert_eq!(finished.end, End::OutOfMemory);
        }
    }
}

#[test]
fn without_cgroups_the_limits_still_hold_and_say_so() {
    let Some(app) = app() else { return };
    let none = tempfile::tempdir().unwrap();
    let limited = |script: &str| {
        let (argv, env) = (argv("perl", script), BTreeMap::new());
        let limits = Limits { memory_bytes: 32 << 20, ..LIMITS };
        let spec = Spec { limits, ..spec(app, &argv, &env) };
        run_under(none.path(), &spec, &Stop::default(), &mut |_, _| {}).unwrap()
    };
    let finished = limited("my $x = 'x' x (512 << 20); print 'had it'");
    assert_eq!(finished.held.memory, Holder::Watch);
    assert_eq!(finished.held.cpus, Holder::Affinity);
    assert!(!finished.end.is_success() && finished.stdout.is_empty());
    // Each child stays within its own limit; the tree does not. Ends when it is killed, never by itself.
    let spread =
        limited("for (1..8) { if (!fork) { my $x = 'x' x (8 << 20); 1 while 1 } } 1 while 1");
    assert_eq!(spread.end, End::OutOfMemory);
    assert!(spread.used.peak_memory_bytes.unwrap() > 32 << 20);
}

#[test]
fn time_processes_and_a_stop_are_held() {
    let Some(app) = app() else { return };
    let short = Limits { wall: Duration::from_millis(200), ..LIMITS };
    assert_eq!(run_script(app, "perl", "1 while 1", short).end, End::OutOfTime);

    let bomb =
        "my $n = 0; while (1) { my $p = fork; last unless defined $p; if (!$p) { sleep 60 } $n++ }
        print $n";
    let finished = run_script(app, "perl", bomb, LIMITS);
    if finished.held.processes != Holder::Nobody {
        let count: u32 = String::from_utf8(finished.stdout).unwrap().parse().unwrap();
        assert!((1..=LIMITS.processes + 2).contains(&count), "{count}");
    }

    let (argv, env) = (argv("perl", "$| = 1; print 'on'; 1 while 1"), BTreeMap::new());
    let stop = Stop::default();
    let spec = spec(app, &argv, &env);
    let finished = run(&spec, &stop, &mut |_, _| stop.stop()).unwrap();
    assert_eq!((finished.end, &finished.stdout[..]), (End::Stopped, &b"on"[..]));
}

#[test]
fn outputs_and_prints_share_one_cap() {
    let Some(app) = app() else { return };
    let write = "open(F, '>/data/output/x'); for (1..32) { print F 'x' x 65536 or exit 1 } close F or exit 1";
    assert_eq!(run_script(app, "perl", write, LIMITS).end, End::OverOutputCap);
    let print = "print 'x' x 65536 while 1";
    let finished = run_script(app, "perl", print, LIMITS);
    assert_eq!(finished.end, End::OverOutputCap);
    assert!(finished.stdout.len() as u64 <= LIMITS.output_bytes);
    let both =
        "open(F, '>/data/output/x'); print F 'x' x 700000; close F; print 'x' x 700000; sleep 60";
    assert_eq!(run_script(app, "perl", both, LIMITS).end, End::OverOutputCap);
    let within = "open(F, '>/data/output/x'); print F 'x' x 400000; close F; print 'x' x 400000";
    assert_eq!(run_script(app, "perl", within, LIMITS).end, End::Exited(0));
    // Scratch is a cap of its own, and its overflow is the program's to handle.
    let scratch = "open(F, '>/tmp/x'); print F 'x' x (2 << 20); exit(close F ? 1 : 7)";
    assert_eq!(run_script(app, "perl", scratch, LIMITS).end, End::Exited(7));
}

#[test]
fn a_program_that_is_not_there_is_said_and_a_probe_says_who_holds_limits() {
    let Some(app) = app() else { return };
    let (argv, env) = (vec!["/no/such/program".to_owned()], BTreeMap::new());
    let finished = run(&spec(app, &argv, &env), &Stop::default(), &mut |_, _| {}).unwrap();
    assert!(!finished.end.is_success());
    assert!(String::from_utf8_lossy(&finished.stderr).contains("/no/such/program"));
    let found = probe().unwrap();
    assert!(found.version.contains("bubblewrap"), "{found:?}");
    assert_eq!(found.held, finished.held);
}
