//! Does what other threads could do while a checkpoint is under way, always at the same moment.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::watched::Watch;
use crate::disk_engine::core::Core;
use crate::engine::{Result, WriteBatch};

/// What is to be done meanwhile.
struct Plan {
    /// At which call to the disk.
    call: u64,
    core: Arc<Core>,
    batches: Vec<WriteBatch>,
    /// Whether all logs are drained then, or those that have enough, or none.
    drains: Option<bool>,
}

/// Meddles with a checkpoint.
#[derive(Default)]
pub(super) struct Meddler {
    plan: Mutex<Option<Plan>>,
    written: Mutex<Option<Result<()>>>,
}

impl Meddler {
    /// Writes these batches, and drains, at a call to the disk.
    pub(super) fn plan(
        &self,
        call: u64,
        core: &Arc<Core>,
        batches: Vec<WriteBatch>,
        drains: Option<bool>,
    ) {
        *self.plan.lock().unwrap() = Some(Plan { call, core: Arc::clone(core), batches, drains });
    }

    /// What came of the batches, if it came to them. The plan is off.
    pub(super) fn outcome(&self) -> Option<Result<()>> {
        *self.plan.lock().unwrap() = None;
        self.written.lock().unwrap().take()
    }
}

impl Watch for Meddler {
    fn meet(&self, _: &'static str, _: &Path) -> Result<()> {
        let mut plan = self.plan.lock().unwrap();
        let Some(planned) = plan.as_mut() else { return Ok(()) };
        // Whoever drains would have to wait now, and whoever writes more than memory holds.
        let is_draining = planned.core.work.try_lock().is_err();
        let is_full = planned.core.state().held_bytes > planned.core.options.memory_bytes;
        if is_draining && is_full {
            return Ok(());
        }
        planned.call = planned.call.saturating_sub(1);
        let Some(Plan { core, batches, drains, .. }) = plan.take_if(|plan| plan.call == 0) else {
            return Ok(());
        };
        let drains = drains.filter(|_| !is_draining);
        drop(plan);
        let written = core.write(&batches);
        if let Some(all) = drains.filter(|_| written.is_ok()) {
            // What has failed here fails what is under way too, or may be tried again.
            let _ = core.drain(&mut core.work(), all);
        }
        *self.written.lock().unwrap() = Some(written);
        Ok(())
    }
}
