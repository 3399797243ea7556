//! Where work runs that computes or blocks: never on a thread that waits for I/O.
//!
//! Invariant: on a runtime of one thread there is nobody else whom the work could
//! keep waiting, so it runs where it is asked for. That makes one sequence of
//! everything that such a runtime does, which a simulation can repeat.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

/// Runs `work` on the CPU pool, so that no I/O worker computes.
pub(crate) async fn on_cpu<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if is_alone() {
        return work();
    }
    let (answer, answered) = oneshot::channel();
    rayon::spawn(move || {
        // The asker is gone only when the pipeline is being torn down.
        let _ = answer.send(work());
    });
    answered.await.expect("a panic on the CPU pool ends the process")
}

/// Runs `work` on the pool for what reads and waits, in passing.
pub(crate) async fn on_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if is_alone() {
        return work();
    }
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Runs a task that blocks, on a named thread of its own.
pub(crate) async fn on_thread<T: Send + 'static>(
    name: &str,
    task: impl Future<Output = T> + Send + 'static,
) -> T {
    if is_alone() {
        return task.await;
    }
    let (answer, answered) = oneshot::channel();
    let runtime = Handle::current();
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // As above.
            let _ = answer.send(runtime.block_on(task));
        })
        .expect("the system gives a thread at start");
    let done = answered.await.expect("a panic on a thread of the pipeline ends the process");
    // It has nothing left to do but to end; the process must not end before it.
    let _ = thread.join();
    done
}

/// Is this a runtime of one thread?
fn is_alone() -> bool {
    Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread
}
