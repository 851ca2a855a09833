//! Memory for appends that are under way, reserved before anything is queued.
//!
//! Appends that expect the version of a key have a budget of their own. They may wait for seconds
//! until the keys of their partition are read, and would keep all others from appending meanwhile;
//! and a budget that others have filled would keep them waiting, whose condition may hold no more.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::limits::CONDITIONAL_APPENDS_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::errors::AppendError;

/// How long an append that expects a version waits for memory: whoever sends it must read and
/// decide anew soon, and others wait behind it in its stream.
const PATIENCE: Duration = Duration::from_millis(500);

/// Memory for appends. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppendMemory {
    most: Arc<Semaphore>,
    budget: usize,
    conditional: Arc<Semaphore>,
}

impl AppendMemory {
    /// So many bytes for those that expect no version.
    pub(crate) fn new(budget: usize) -> Self {
        let conditional = Arc::new(Semaphore::new(CONDITIONAL_APPENDS_BYTES));
        Self { most: Arc::new(Semaphore::new(budget)), budget, conditional }
    }

    /// The bytes of those that expect no version.
    pub(crate) fn used(&self) -> usize {
        self.budget.saturating_sub(self.most.available_permits())
    }

    /// Reserves memory, waiting for it up to `timeout`: without one as long as it takes, or for
    /// [`PATIENCE`] where a version is expected.
    pub(crate) async fn reserve(
        &self,
        bytes: usize,
        expects_version: bool,
        timeout: Option<Duration>,
    ) -> Result<OwnedSemaphorePermit, AppendError> {
        let (semaphore, limit, timeout) = if expects_version {
            let timeout = timeout.map_or(PATIENCE, |timeout| timeout.min(PATIENCE));
            (&self.conditional, CONDITIONAL_APPENDS_BYTES, Some(timeout))
        } else {
            (&self.most, self.budget, timeout)
        };
        let wanted = u32::try_from(bytes.min(limit)).unwrap_or(u32::MAX);
        let permits = Arc::clone(semaphore).acquire_many_owned(wanted);
        let permits = match timeout {
            None => permits.await,
            Some(timeout) => match tokio::time::timeout(timeout, permits).await {
                Ok(permits) => permits,
                Err(_) if expects_version => {
                    return Err(AppendError::TooManyConditional { limit });
                }
                Err(_) => return Err(AppendError::Overloaded { limit }),
            },
        };
        permits.map_err(|_| AppendError::Draining)
    }
}
