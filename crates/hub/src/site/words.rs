//! How pages put states, sizes and who holds the key.

use api::{
    CaseStatus, Custodian, DatasetKind, DeliveryState, ExecutionState, IndexState, QualityState,
    Right, Role, TaskState,
};

/// A word in a frame of its own, in the colour of what it means; never told by the colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The style: empty, `ok`, `wait` or `danger`.
    pub(super) class: &'static str,
    /// The word.
    pub(super) word: &'static str,
}

const fn mark(class: &'static str, word: &'static str) -> Mark {
    Mark { class, word }
}

/// Where a dataset stands.
pub(super) const fn execution(state: ExecutionState) -> Mark {
    match state {
        ExecutionState::Receiving => mark("wait", "arriving"),
        ExecutionState::Processing => mark("wait", "being worked on"),
        ExecutionState::Complete => mark("ok", "complete"),
        ExecutionState::NeedsAttention => mark("danger", "needs attention"),
        ExecutionState::Failed => mark("danger", "failed"),
        ExecutionState::Superseded => mark("", "superseded"),
    }
}

/// Where a task or a session stands.
pub(super) const fn task(state: TaskState) -> Mark {
    match state {
        TaskState::Queued => mark("wait", "waits for a vault"),
        TaskState::Running => mark("wait", "running"),
        TaskState::Complete => mark("ok", "complete"),
        TaskState::Failed => mark("danger", "failed"),
        TaskState::Cancelled => mark("", "cancelled"),
    }
}

/// Where a case stands.
pub(super) const fn case(status: CaseStatus) -> Mark {
    match status {
        CaseStatus::Open => mark("wait", "open"),
        CaseStatus::Concluded => mark("wait", "concluded"),
        CaseStatus::Closed => mark("ok", "closed"),
    }
}

/// How far a version of an index is.
pub(super) const fn index(state: IndexState) -> Mark {
    match state {
        IndexState::Building => mark("wait", "being built"),
        IndexState::Live => mark("ok", "answers"),
        IndexState::Ending => mark("", "being deleted"),
    }
}

/// What was said of its quality.
pub(super) const fn quality(state: QualityState) -> Mark {
    match state {
        QualityState::Unknown => mark("", "not judged"),
        QualityState::Passed => mark("ok", "passed"),
        QualityState::Failed => mark("danger", "failed"),
    }
}

/// Whether it was handed on.
pub(super) const fn delivery(state: DeliveryState) -> Mark {
    match state {
        DeliveryState::Pending => mark("", "not yet"),
        DeliveryState::OnHold => mark("wait", "on hold"),
        DeliveryState::Delivered => mark("ok", "delivered"),
    }
}

/// Who holds the key, in a word for lists.
pub(super) const fn holder(custodian: Custodian) -> Mark {
    match custodian {
        Custodian::Platform => mark("", "key: this hub"),
        Custodian::Organization => mark("", "key: organization"),
        Custodian::Owner => mark("ok", "key: owner alone"),
    }
}

/// Who holds the key and what follows, in a sentence.
pub(super) const fn holder_sentence(custodian: Custodian) -> &'static str {
    match custodian {
        Custodian::Platform => {
            "This hub's operator holds the key: the hub can read what policy lets it, and you take the operator's word."
        }
        Custodian::Organization => {
            "An organization's own key holds it: the hub can read only while that organization's key service lets it."
        }
        Custodian::Owner => {
            "The owner alone holds the key, from twelve words: neither this hub nor whoever runs it can read."
        }
    }
}

/// What a member may do.
pub(super) const fn right(right: Right) -> &'static str {
    match right {
        Right::Browse => "browse: see names, states and counts",
        Right::Read => "read: open data too",
        Right::Create => "create: send runs and launch apps too",
        Right::Write => "write: change and delete datasets too",
        Right::Admin => "admin: add and remove members too",
        Right::Owner => "owner: everything",
    }
}

/// What an account may do in its organization.
pub(super) const fn role(role: Role) -> &'static str {
    match role {
        Role::Administrator => {
            "administrator: invites, gives roles, sees to the key; no data by that alone"
        }
        Role::Clinician => "clinician: makes projects, reads cases where a member",
        Role::Lab => "lab: makes projects, runs instruments",
        Role::Auditor => "auditor: reads what was done, never data",
    }
}

/// One of this kind, at the beginning of a sentence.
pub(super) const fn kind(kind: DatasetKind) -> &'static str {
    match kind {
        DatasetKind::Run => "Run",
        DatasetKind::Sample => "Sample",
        DatasetKind::Result => "Result",
        DatasetKind::App => "App package",
    }
}

/// A size, to three digits.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut whole = bytes;
    let mut rest = 0;
    let mut unit = UNITS[0];
    for name in UNITS {
        if whole < 1024 {
            break;
        }
        rest = whole % 1024;
        whole /= 1024;
        unit = name;
    }
    if whole < 10 {
        format!("{whole}.{:02} {unit}", rest * 100 / 1024)
    } else if whole < 100 {
        format!("{whole}.{} {unit}", rest * 10 / 1024)
    } else {
        format!("{whole} {unit}")
    }
}

/// A number in groups of three digits.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1024), "1.00 KiB");
        assert_eq!(size(1536), "1.50 KiB");
        assert_eq!(size(10 * 1024 * 1024 + 512 * 1024), "10.5 MiB");
        assert_eq!(size(150 * 1024 * 1024 * 1024), "150 GiB");
        assert_eq!(size(u64::MAX), "16383 PiB");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(count(7), "7");
        assert_eq!(count(14_146), "14\u{202f}146");
        assert_eq!(count(100_000), "100\u{202f}000");
    }
}
