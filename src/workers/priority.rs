//! A thread that only takes what others leave.

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// Puts the calling thread below all others: SCHED_IDLE, or nice 19 where the kernel refuses that.
///
/// A pool at normal priority multiplied the shards' p99 by 2 to 5 (measured, docs/performance.md).
/// If both are refused the thread runs as it is, and the log says so.
pub fn lower_this_thread() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).is_ok() {
        return;
    }
    // On Linux a nice value belongs to a thread, and `None` means the calling one.
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::warn!(%error, "a worker runs at normal priority: the kernel refuses SCHED_IDLE and nice 19");
    }
}
