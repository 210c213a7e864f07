//! How long what a key service opened may stay in memory.
//!
//! One opening serves all who ask at the same time, and all who ask until the lease ends. The lease is hard: use does not
//! lengthen it, and renewing it is a real call of the service. What a service refused is remembered for as long as a probe is
//! away, so that a crowd of callers does not become a crowd of calls.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::Time;
use jiff::SignedDuration;

use super::{KeySet, Keys};
use crate::kms::{CustomerKey, Effect, KeyContext, KmsError, probe};

/// The longest lease.
pub const MAX_LEASE_SECONDS: u32 = 3600;
/// How long a denial is remembered: as long as it takes the next probe to come.
const DENIED: SignedDuration = SignedDuration::from_secs(30);
/// How long a service that did not answer is left alone.
const AWAY: SignedDuration = SignedDuration::from_secs(2);
/// How long keys that nobody shares serve the one call that asked for them, where the lease is 0.
const ONE_CALL: SignedDuration = SignedDuration::from_secs(30);

/// A length that no lease has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease of {0} seconds is longer than {MAX_LEASE_SECONDS}")]
pub struct LongestLease(pub u32);

/// The keys of one organization, held or not.
pub struct Lease {
    set: KeySet,
    customer: Arc<dyn CustomerKey>,
    length: SignedDuration,
    /// What is held now.
    current: Mutex<Option<Arc<Keys>>>,
    /// Whoever has this asks the service; what it said last, if it did not open, stands inside.
    asking: tokio::sync::Mutex<Option<Refusal>>,
    /// When the service was last asked.
    asked: Mutex<Option<Time>>,
    /// Set when what it opens has changed: it opens no more.
    closed: std::sync::atomic::AtomicBool,
}

struct Refusal {
    error: Arc<KmsError>,
    until: Time,
}

impl Lease {
    /// A lease of so many seconds on these keys.
    ///
    /// # Errors
    /// [`LongestLease`] if that is too long.
    pub fn new(
        set: KeySet,
        customer: Arc<dyn CustomerKey>,
        seconds: u32,
    ) -> Result<Self, LongestLease> {
        if seconds > MAX_LEASE_SECONDS {
            return Err(LongestLease(seconds));
        }
        Ok(Self {
            set,
            customer,
            length: SignedDuration::from_secs(i64::from(seconds)),
            current: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            asked: Mutex::default(),
            closed: std::sync::atomic::AtomicBool::new(false),
        })
    }

    /// What it opens.
    #[must_use]
    pub const fn set(&self) -> &KeySet {
        &self.set
    }

    /// The customer's key.
    #[must_use]
    pub fn customer(&self) -> &Arc<dyn CustomerKey> {
        &self.customer
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Keys>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the service was last asked, if it was.
    #[must_use]
    pub fn asked(&self) -> Option<Time> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asks(&self, now: Time) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// The keys, where they are held at `now`: nothing is asked.
    #[must_use]
    pub fn held(&self, now: Time) -> Option<Arc<Keys>> {
        self.current().as_ref().filter(|keys| now < keys.ends()).cloned()
    }

    /// The keys: those that are held, or new ones from the service.
    ///
    /// # Errors
    /// What the service said; its [`effect`](KmsError::effect) tells a denial from an outage.
    pub async fn open(
        &self,
        clock: impl Fn() -> Time + Send + Sync,
    ) -> Result<Arc<Keys>, Arc<KmsError>> {
        if let Some(keys) = self.held(clock()) {
            return Ok(keys);
        }
        let mut refusal = self.asking.lock().await;
        // Whoever was here before may have opened them, or have heard that they do not open.
        let now = clock();
        if let Some(keys) = self.held(now) {
            return Ok(keys);
        }
        if let Some(refusal) = refusal.as_ref().filter(|refusal| now < refusal.until) {
            return Err(Arc::clone(&refusal.error));
        }
        self.end();
        let shared = self.length.is_positive();
        // From before the call: the service's answer may be as old as that.
        self.asks(now);
        let ends = later(now, if shared { self.length } else { ONE_CALL });
        match Keys::open(&self.set, &*self.customer, ends).await {
            Ok(keys) => {
                *refusal = None;
                let keys = Arc::new(keys);
                let mut current = self.current();
                if self.is_closed() {
                    keys.end();
                    return Err(Arc::new(KmsError::Away("the keys were changed meanwhile".into())));
                }
                if shared {
                    *current = Some(Arc::clone(&keys));
                }
                drop(current);
                Ok(keys)
            }
            Err(error) => {
                let error = Arc::new(error);
                *refusal = Some(self.refused(&error, clock()));
                Err(error)
            }
        }
    }

    fn refused(&self, error: &Arc<KmsError>, now: Time) -> Refusal {
        let rest = match (&**error, error.effect()) {
            (KmsError::Throttled { after: Some(after) }, _) => {
                SignedDuration::try_from(*after).unwrap_or(AWAY).min(DENIED)
            }
            (_, Effect::Drop) => DENIED,
            _ => AWAY,
        };
        Refusal { error: Arc::clone(error), until: later(now, rest) }
    }

    /// Asks whether the customer's key answers, in both directions. If the customer has taken it away, what is held is wiped; if
    /// it is back, the next [`open`](Self::open) opens.
    ///
    /// # Errors
    /// What the service said.
    pub async fn probe(&self, clock: impl Fn() -> Time + Send + Sync) -> Result<(), Arc<KmsError>> {
        let canary = self.set.keys.iter().find(|key| key.purpose == api::KeyPurpose::Canary);
        let Some(canary) = canary else { return Ok(()) };
        let of = KeyContext {
            organization: self.set.organization,
            purpose: canary.purpose,
            version: canary.version,
        };
        self.asks(clock());
        match probe(&*self.customer, &of, &canary.wrapped).await {
            Ok(()) => {
                *self.asking.lock().await = None;
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                if error.effect() == Effect::Drop {
                    self.end();
                    let refused = self.refused(&error, clock());
                    *self.asking.lock().await = Some(refused);
                    // Whoever opened them while we asked had heard an older answer.
                    self.end();
                }
                Err(error)
            }
        }
    }

    /// Wipes what is held if its time is over.
    pub fn sweep(&self, now: Time) {
        let mut current = self.current();
        if current.as_ref().is_some_and(|keys| now >= keys.ends())
            && let Some(keys) = current.take()
        {
            keys.end();
        }
    }

    /// Wipes what is held and opens no more, because what it opens has changed.
    pub fn close(&self) {
        let mut current = self.current();
        self.closed.store(true, std::sync::atomic::Ordering::SeqCst);
        if let Some(keys) = current.take() {
            keys.end();
        }
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Wipes what is held, now.
    pub fn end(&self) {
        if let Some(keys) = self.current().take() {
            keys.end();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end();
    }
}

fn later(now: Time, by: SignedDuration) -> Time {
    now.checked_add(by).unwrap_or(Time::MAX)
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("organization", &self.set.organization)
            .field("customer", &self.customer)
            .finish_non_exhaustive()
    }
}
