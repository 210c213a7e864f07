//! When keys and their accounts were last of use, to ten minutes: noted by the calls themselves, few of which write.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use api::KeyId;

use super::Db;
use crate::HubError;

/// How old a note may become, in microseconds.
const OLD_MICROS: i64 = 600_000_000;
/// Of how many keys the last note is remembered; beyond that all are noted anew.
const MOST: usize = 10_000;

/// The last note of each key.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<HashMap<KeyId, i64>>);

impl Uses {
    /// A call that counts was made with this key.
    pub(crate) async fn note(&self, db: &Db, key: KeyId, now: i64) -> Result<(), HubError> {
        if self.is_fresh(key, now) {
            return Ok(());
        }
        let mut tx = db.write().await?;
        let noted =
            sqlx::query("UPDATE account_keys SET used = max(coalesce(used, 0), $2) WHERE id = $1")
                .bind(key.to_string())
                .bind(now)
                .execute(&mut *tx)
                .await?;
        sqlx::query(
            "UPDATE accounts SET used = max(coalesce(used, 0), $2)
             WHERE id = (SELECT account FROM account_keys WHERE id = $1)",
        )
        .bind(key.to_string())
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        // A key that brings itself is of no account yet: it is noted at its next call.
        if noted.rows_affected() > 0 {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= MOST {
                all.clear();
            }
            all.insert(key, now);
        }
        Ok(())
    }

    fn is_fresh(&self, key: KeyId, now: i64) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&key).is_some_and(|at| now.saturating_sub(*at) < OLD_MICROS)
    }
}
