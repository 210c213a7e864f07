//! Runs, beyond what every dataset has.

use api::{
    CloseRun, Dataset, DatasetId, Requeue, RunAttention, RunMetrics, RunProgress, Sealed, Task,
    TransferProgress,
};

use crate::connection::Request;
use crate::{Client, ClientError};

impl Client {
    /// Says that a run folder grows no more and why, in one of the broker's fixed sentences.
    pub async fn run_attention(
        &self,
        run: DatasetId,
        reason: &str,
    ) -> Result<Dataset, ClientError> {
        let body = RunAttention { reason: reason.to_owned() };
        self.call(Request::post(format!("/runs/{run}/attention"), &body).repeatable()).await
    }

    /// Says how far a run is that is being sent: numbers alone, which the hub shows and does not keep.
    pub async fn tell_run_progress(
        &self,
        run: DatasetId,
        progress: &TransferProgress,
    ) -> Result<RunProgress, ClientError> {
        let call = Request::put(format!("/runs/{run}/progress"), progress);
        self.call(call).await
    }

    /// A run's metrics, where the custodian lets the hub open them.
    pub async fn run_metrics(&self, run: DatasetId) -> Result<RunMetrics, ClientError> {
        self.call(Request::get(format!("/runs/{run}/metrics"))).await
    }

    /// Decides about a run that needs attention: take it as it is, or give it up.
    pub async fn close_run(
        &self,
        run: DatasetId,
        close: &CloseRun,
    ) -> Result<Dataset, ClientError> {
        self.call(Request::post(format!("/runs/{run}/close"), close).repeatable()).await
    }

    /// Demultiplexes a run again without sending it again; `settings` are `RequeueSettings`, sealed under its key.
    pub async fn requeue_run(&self, run: DatasetId, settings: Sealed) -> Result<Task, ClientError> {
        self.call(Request::post(format!("/runs/{run}/requeue"), &Requeue { settings })).await
    }
}
