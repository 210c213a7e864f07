//! What was read of the database and is still so, because nobody has written since: who signs with a key, who has which right.
//!
//! Every signed call asks both, and a look into the database costs several times what verifying a signature does. So what was read
//! is remembered together with the *state* it was read in, and counts in that state alone. A writing transaction ends the state
//! when it begins, and begins another one when it is over, so nothing is remembered while one is open. It does not matter what it
//! wrote: who forgets too much reads again; who forgets too little lets a revoked key in.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use api::{AccountId, KeyId, OrganizationId, ProjectId, Right, SearchField};

use super::case_indexes::KeptIndex;
use super::keys::Signer;

/// How much of each kind is remembered; beyond that all of it is read again.
const MOST: usize = 10_000;
/// The state is the number of transactions that are over, in the upper bits, and of those that are open, in the lower ones.
const OPEN: u64 = 1;
const OVER: u64 = 1 << 16;

/// A state in which nobody was writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Calm(u64);

/// What was read in the last state in which something was.
#[derive(Debug)]
struct Table<K, V> {
    state: Calm,
    values: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Clone> Table<K, V> {
    fn empty() -> Mutex<Self> {
        Mutex::new(Self { state: Calm(u64::MAX), values: HashMap::new() })
    }

    fn get(table: &Mutex<Self>, state: Calm, key: &K) -> Option<V> {
        let table = table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.state == state { table.values.get(key).cloned() } else { None }
    }

    fn put(table: &Mutex<Self>, state: Calm, key: K, value: V) {
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.state != state || table.values.len() >= MOST {
            table.values.clear();
            table.state = state;
        }
        table.values.insert(key, value);
    }
}

#[derive(Debug)]
struct Inner {
    state: AtomicU64,
    signers: Mutex<Table<KeyId, Signer>>,
    rights: Mutex<Table<(ProjectId, AccountId), Option<Right>>>,
    indexes: Mutex<HashMap<(OrganizationId, SearchField), KeptIndex>>,
}

/// The memory of one database, shared by all who read it.
#[derive(Debug, Clone)]
pub(crate) struct Seen(Arc<Inner>);

impl Seen {
    pub(super) fn new() -> Self {
        let (signers, rights) = (Table::empty(), Table::empty());
        Self(Arc::new(Inner {
            state: AtomicU64::new(0),
            signers,
            rights,
            indexes: Mutex::default(),
        }))
    }

    /// A transaction that writes has begun, and has written nothing yet.
    pub(crate) fn begin(&self) {
        self.0.state.fetch_add(OPEN, Ordering::SeqCst);
    }

    /// It is over, however it ended: what it wrote is read from now on.
    pub(crate) fn end(&self) {
        self.0.state.fetch_add(OVER - OPEN, Ordering::SeqCst);
    }

    /// The state now, unless somebody writes.
    pub(crate) fn calm(&self) -> Option<Calm> {
        let state = self.0.state.load(Ordering::SeqCst);
        state.is_multiple_of(OVER).then_some(Calm(state))
    }

    /// Whether it is still that state: what was read since it was taken is true in it.
    fn is_still(&self, state: Calm) -> bool {
        self.calm() == Some(state)
    }

    /// Who signs with a key, if that was read in this state.
    pub(crate) fn signer(&self, state: Calm, key: KeyId) -> Option<Signer> {
        Table::get(&self.0.signers, state, &key)
    }

    /// Remembers who signs with a key: read after `state` was taken.
    pub(crate) fn signs(&self, state: Calm, key: KeyId, signer: &Signer) {
        // Of the others, who signs ends by the clock alone.
        if matches!(signer, Signer::Account { .. }) && self.is_still(state) {
            Table::put(&self.0.signers, state, key, signer.clone());
        }
    }

    /// The version of a field's index that answered last, in whatever state: whoever asks it asks whether it still answers.
    pub(crate) fn answered(
        &self,
        organization: OrganizationId,
        field: SearchField,
    ) -> Option<KeptIndex> {
        let indexes = self.0.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.get(&(organization, field)).cloned()
    }

    /// Remembers the version of a field's index that answers.
    pub(crate) fn answers(&self, index: KeptIndex) {
        let mut indexes = self.0.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        if indexes.len() >= MOST {
            indexes.clear();
        }
        indexes.insert((index.organization, index.shown.field), index);
    }

    /// Which right an account has in a project, if that was read in this state.
    pub(crate) fn right(
        &self,
        state: Calm,
        project: ProjectId,
        account: AccountId,
    ) -> Option<Option<Right>> {
        Table::get(&self.0.rights, state, &(project, account))
    }

    /// Remembers which right an account has in a project: read after `state` was taken.
    pub(crate) fn has_right(
        &self,
        state: Calm,
        project: ProjectId,
        account: AccountId,
        right: Option<Right>,
    ) {
        if self.is_still(state) {
            Table::put(&self.0.rights, state, (project, account), right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_remembered_while_somebody_writes_nor_across_it() {
        let seen = Seen::new();
        let (project, account) = (ProjectId::generate(), AccountId::generate());
        let before = seen.calm().unwrap();
        assert_eq!(seen.right(before, project, account), None);
        seen.has_right(before, project, account, Some(Right::Read));
        assert_eq!(seen.right(before, project, account), Some(Some(Right::Read)));

        seen.begin();
        assert_eq!(seen.calm(), None);
        // Two at once, as where one was dropped and another began.
        seen.begin();
        seen.end();
        assert_eq!(seen.calm(), None);
        // Whoever read before it began, and comes now, is too late.
        seen.has_right(before, project, account, Some(Right::Admin));
        seen.end();
        let after = seen.calm().unwrap();
        assert_ne!(before, after);
        assert_eq!(seen.right(after, project, account), None);
        seen.has_right(before, project, account, Some(Right::Admin));
        assert_eq!(seen.right(after, project, account), None);

        seen.has_right(after, project, account, None);
        assert_eq!(seen.right(after, project, account), Some(None));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let seen = Seen::new();
        let state = seen.calm().unwrap();
        let account = AccountId::generate();
        for _ in 0..=MOST {
            seen.has_right(state, ProjectId::generate(), account, None);
        }
        assert_eq!(seen.0.rights.lock().unwrap().values.len(), 1);
    }
}
