//! Tasks, queues, epochs, shutdown.
