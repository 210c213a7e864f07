//! Vaults as children of the hub: how they are started, and for whom one stays.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use api::{ProjectId, TaskId};
use tokio_util::sync::CancellationToken;

use crate::engine::{self, Start, Ticket};

/// An engine whose vaults are this script, of which so many may stay.
fn local(dir: &Path, script: &str, at_most: usize) -> engine::Local {
    let program = dir.join("program");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (url, ca) = ("https://localhost:8470".into(), "/ca.pem".into());
    engine::Local::new(program, url, ca, dir.join("vaults"), at_most)
}

/// A program that writes down how it was started: its arguments, its environment and its standard input.
#[tokio::test]
async fn a_vault_is_a_child_with_the_ticket_on_its_standard_input_and_next_to_no_environment() {
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let script = format!(
        "#!/bin/sh\n{{ echo \"$@\"; env; echo ---; cat; }} > {0}.part\nmv {0}.part {0}\n",
        seen.display()
    );
    let local = local(dir.path(), &script, 1);
    let task = TaskId::generate();
    local.run(task, Ticket::of("a ticket"), CancellationToken::new()).await;
    let seen = std::fs::read_to_string(seen).unwrap();
    let (head, stdin) = seen.split_once("---\n").unwrap();
    assert_eq!(stdin, "a ticket\n");
    let mut lines = head.lines();
    let arguments = format!("vault run --hub https://localhost:8470 --ca /ca.pem --task {task}");
    assert_eq!(lines.next(), Some(arguments.as_str()));
    assert!(!head.contains("a ticket") && !head.contains("CARGO"));
}

/// A program that writes down what each start of it was handed, says after each line that it is done, and ends when one says so.
#[tokio::test]
async fn a_vault_stays_for_its_owners_next_task_and_for_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let script = format!(
        "#!/bin/sh\nwhile read task ticket; do\n  echo \"$$ $task $ticket\" >> {}\n  \
         [ \"$ticket\" = last ] && exit 0\n  echo done\ndone\n",
        seen.display()
    );
    let local = local(dir.path(), &script, 2);
    let (ada, bob) = (ProjectId::generate(), ProjectId::generate());
    let tasks: Vec<TaskId> = (0..6).map(|_| TaskId::generate()).collect();
    let given = [(ada, "a"), (ada, "b"), (bob, "c"), (ada, "last"), (ada, "e"), (bob, "f")];
    for (task, (owner, ticket)) in tasks.iter().zip(given) {
        let ticket = Ticket::of_owner(ticket, owner);
        local.run(*task, ticket, CancellationToken::new()).await;
    }
    let seen = std::fs::read_to_string(seen).unwrap();
    let lines: Vec<Vec<&str>> = seen.lines().map(|line| line.split(' ').collect()).collect();
    for ((line, task), (_, ticket)) in lines.iter().zip(&tasks).zip(given) {
        assert_eq!(line[1..], [task.to_string().as_str(), ticket]);
    }
    let by: Vec<&str> = lines.iter().map(|line| line[0]).collect();
    assert_eq!((by[0], by[2]), (by[1], by[5]), "the same one for the same owner");
    assert_eq!(by[0], by[3]);
    assert_ne!(by[0], by[2]);
    assert!(by[4] != by[0] && by[4] != by[2], "one that has ended is not waited for");
}
