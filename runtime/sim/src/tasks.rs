//! Tasks that run one step at a time, in whatever order the seed says.
//!
//! Owns the tasks of all processes. A task gives way at every `step().await`;
//! what it does between two of them nobody sees half done. To end a process is
//! to drop its tasks where they stand: that is a crash.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::process::Halt;

/// Which process a task belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProcessId(pub(crate) usize);

struct Task {
    process: ProcessId,
    work: Pin<Box<dyn Future<Output = Result<(), Halt>>>>,
}

/// Takes new tasks; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Spawner(Rc<RefCell<Vec<Task>>>);

/// All tasks.
#[derive(Default)]
pub(crate) struct Tasks {
    running: Vec<Task>,
    spawner: Spawner,
}

impl Spawner {
    pub(crate) fn spawn(&self, process: ProcessId, work: impl Future<Output = Result<(), Halt>> + 'static) {
        self.0.borrow_mut().push(Task { process, work: Box::pin(work) });
    }
}

impl Tasks {
    pub(crate) fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// The process of each task that may be polled.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn process_of(&self, task: usize) -> ProcessId {
        self.running[task].process
    }

    pub(crate) fn has(&self, process: ProcessId) -> bool {
        self.running.iter().any(|task| task.process == process)
    }

    /// Lets a task take a step; gives its result if that was the last one.
    pub(crate) fn poll(&mut self, task: usize) -> Option<Result<(), Halt>> {
        let polled = self.running[task].work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let ended = match polled {
            Poll::Pending => None,
            Poll::Ready(ended) => {
                drop(self.running.swap_remove(task));
                Some(ended)
            }
        };
        self.take_spawned();
        ended
    }

    pub(crate) fn take_spawned(&mut self) {
        self.running.append(&mut self.spawner.0.borrow_mut());
    }

    /// Drops all tasks of `process`, wherever they are.
    pub(crate) fn end(&mut self, process: ProcessId) {
        self.running.retain(|task| task.process != process);
    }
}

/// Gives way once.
pub(crate) fn step() -> impl Future<Output = ()> {
    let mut gave_way = false;
    std::future::poll_fn(
        move |_| {
            if std::mem::replace(&mut gave_way, true) { Poll::Ready(()) } else { Poll::Pending }
        },
    )
}

/// What one task hands to another; bounded where the pipeline's is.
pub(crate) struct Queue<T>(Rc<RefCell<Inner<T>>>);

struct Inner<T> {
    items: VecDeque<T>,
    capacity: usize,
    closed: bool,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Rc::new(RefCell::new(Inner { items: VecDeque::new(), capacity, closed: false })))
    }

    pub(crate) fn has_room(&self) -> bool {
        let inner = self.0.borrow();
        inner.items.len() < inner.capacity
    }

    /// Waits for room.
    pub(crate) async fn send(&self, item: T) {
        step().await;
        while !self.has_room() {
            step().await;
        }
        self.0.borrow_mut().items.push_back(item);
    }

    pub(crate) fn try_next(&self) -> Option<T> {
        self.0.borrow_mut().items.pop_front()
    }

    /// The next item; `None` once it is closed and empty.
    pub(crate) async fn next(&self) -> Option<T> {
        loop {
            step().await;
            match self.try_next() {
                None if self.is_ended() => return None,
                None => {}
                item => return item,
            }
        }
    }

    pub(crate) fn close(&self) {
        self.0.borrow_mut().closed = true;
    }

    /// Is it closed and empty?
    pub(crate) fn is_ended(&self) -> bool {
        let inner = self.0.borrow();
        inner.closed && inner.items.is_empty()
    }
}
