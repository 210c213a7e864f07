//! One approval of every kind, for tests.

use api::{AccountId, Bytes, Custodian, DatasetId, ProjectId, TaskId, Time};

use super::*;
use crate::card::owner::tests::{card, key};

pub(crate) fn at(second: i64) -> Time {
    Time::from_second(second).unwrap()
}

pub(crate) fn purpose() -> Purpose {
    Purpose { salt: sha256(b"salt"), text: "check my reads".into() }
}

pub(crate) fn vault() -> VaultKeys {
    VaultKeys {
        recipient: sha256(b"recipient"),
        receipt_key: Bytes(key(8).public().to_bytes().to_vec()),
        mode: Mode::Unattested { evidence: sha256(b"evidence") },
    }
}

pub(crate) fn approval(act: Act) -> Approval {
    let card = card();
    Approval {
        hub: card.hub.clone(),
        project: card.project,
        owner: card.owner.clone(),
        card: card.digest(),
        purpose: commitment(&purpose()),
        requester: AccountId::from_bytes([9; 16]),
        nonce: sha256(b"nonce"),
        not_before: at(1_000),
        expires: at(1_000 + APPROVAL_SECONDS),
        checkpoint: None,
        act,
    }
}

pub(crate) fn input() -> Input {
    Input {
        name: "reads".into(),
        dataset: DatasetId::from_bytes([1; 16]),
        manifest: sha256(b"manifest"),
    }
}

pub(crate) fn output(custodian: Custodian) -> Output {
    Output {
        project: ProjectId::from_bytes([5; 16]),
        card: card().digest(),
        custodian,
        dataset: Some(DatasetId::from_bytes([2; 16])),
    }
}

pub(crate) fn run() -> RunApp {
    RunApp {
        task: TaskId::from_bytes([3; 16]),
        request: sha256(b"request"),
        program: Program::App {
            digest: sha256(b"app"),
            manifest: r#"{"name":"fastp","version":"0.23"}"#.into(),
        },
        settings: Some(sha256(b"{}")),
        inputs: vec![input()],
        outputs: vec![output(Custodian::Owner)],
        vault: vault(),
        grant: None,
    }
}

/// One of every kind.
pub(crate) fn all() -> Vec<Approval> {
    let bytes = |seed| Bytes(key(seed).public().to_bytes().to_vec());
    let measurement = |seed| Bytes(vec![seed; 48]);
    let task = TaskId::from_bytes([3; 16]);
    let acts = [
        Act::Boot(Boot {
            task,
            measurements: vec![measurement(1)],
            policy: sha256(b"policy"),
            challenge: sha256(b"challenge"),
        }),
        Act::App(run()),
        Act::Query(RunQuery {
            task,
            request: sha256(b"request"),
            query: sha256(b"{}"),
            inputs: vec![input()],
            outputs: vec![output(Custodian::Owner)],
            recipient: sha256(b"asker"),
            most_answer_bytes: 1000,
            vault: VaultKeys {
                mode: Mode::Snp {
                    measurement: measurement(1),
                    policy: sha256(b"policy"),
                    report: measurement(2),
                },
                ..vault()
            },
        }),
        Act::CodeUpdate(CodeUpdate {
            release: sha256(b"list"),
            remove: vec![measurement(1)],
            add: vec![measurement(2)],
        }),
        Act::Export(Export { input: input(), output: output(Custodian::Platform) }),
        Act::Share(Share {
            input: input(),
            account: AccountId::from_bytes([7; 16]),
            recipient: sha256(b"friend"),
        }),
        Act::Transfer(Transfer {
            account: AccountId::from_bytes([7; 16]),
            owner: bytes(6),
            recipient: sha256(b"friend"),
            reseal: true,
        }),
        Act::Delete(Delete { dataset: Some(DatasetId::from_bytes([1; 16])) }),
        Act::CustodianChange(CustodianChange {
            custodian: Custodian::Platform,
            card: sha256(b"card"),
            reseal: true,
        }),
        Act::Writer(Writer {
            dataset: DatasetId::from_bytes([1; 16]),
            manifest: sha256(b"manifest"),
            key: bytes(8),
        }),
        Act::StandingGrant(StandingGrant {
            device: bytes(2),
            app: sha256(b"app"),
            measurements: vec![],
            into: Output { dataset: None, ..output(Custodian::Owner) },
            uses: 10,
            until: at(1_000 + MOST_GRANT_SECONDS),
        }),
        Act::KeyChange(KeyChange { owner: bytes(6), recipient: sha256(b"new"), reseal: false }),
    ];
    acts.into_iter().map(approval).collect()
}

/// The card of all of them.
pub(crate) fn plain_card() -> OwnerCard {
    card()
}
