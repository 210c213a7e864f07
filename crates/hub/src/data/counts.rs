//! How much there is, for whoever watches over the machine.

use super::{Connection, unsigned};
use crate::HubError;

/// Counts, by words of ours alone.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Sealed objects of the epochs in force.
    pub(crate) objects: u64,
    /// Their bytes.
    pub(crate) sealed_bytes: u64,
    /// Datasets by kind and execution state.
    pub(crate) datasets: Vec<(String, String, u64)>,
    /// Tasks that did not end, by state.
    pub(crate) tasks: Vec<(String, u64)>,
    /// Key services of organizations, by whether their key is to be had.
    pub(crate) key_services: Vec<(String, u64)>,
    /// Tasks that failed, of those that are kept.
    pub(crate) failed_tasks: u64,
    /// Erasures that a facility has not confirmed.
    pub(crate) erasures: u64,
    /// What is to be described.
    pub(crate) undescribed: u64,
    /// Leaves of the audit log.
    pub(crate) leaves: u64,
}

/// Reads them. The sums are kept with the datasets, so no table of objects is gone through.
pub(crate) async fn read(at: &mut Connection) -> Result<Counts, HubError> {
    let (objects, sealed_bytes): (i64, i64) = sqlx::query_as(
        "SELECT coalesce(sum(objects), 0), coalesce(sum(sealed_bytes), 0) FROM datasets",
    )
    .fetch_one(&mut *at)
    .await?;
    let datasets: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT kind, execution, count(*) FROM datasets GROUP BY kind, execution ORDER BY kind, execution",
    )
    .fetch_all(&mut *at)
    .await?;
    let tasks: Vec<(String, i64)> = sqlx::query_as(
        "SELECT state, count(*) FROM tasks WHERE ended IS NULL GROUP BY state ORDER BY state",
    )
    .fetch_all(&mut *at)
    .await?;
    let key_services: Vec<(String, i64)> = sqlx::query_as(
        "SELECT standing, count(*) FROM organization_services GROUP BY standing ORDER BY standing",
    )
    .fetch_all(&mut *at)
    .await?;
    let failed: i64 = sqlx::query_scalar("SELECT count(*) FROM tasks WHERE state = 'failed'")
        .fetch_one(&mut *at)
        .await?;
    let (erasures, undescribed, leaves): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM erasures), (SELECT count(*) FROM undescribed),
             (SELECT coalesce(max(idx) + 1, 0) FROM audit_leaves)",
    )
    .fetch_one(&mut *at)
    .await?;
    let mut counts = Counts {
        objects: unsigned(objects)?,
        sealed_bytes: unsigned(sealed_bytes)?,
        erasures: unsigned(erasures)?,
        undescribed: unsigned(undescribed)?,
        leaves: unsigned(leaves)?,
        failed_tasks: unsigned(failed)?,
        ..Counts::default()
    };
    for (kind, state, count) in datasets {
        counts.datasets.push((kind, state, unsigned(count)?));
    }
    for (standing, count) in key_services {
        counts.key_services.push((standing, unsigned(count)?));
    }
    for (state, count) in tasks {
        counts.tasks.push((state, unsigned(count)?));
    }
    Ok(counts)
}
