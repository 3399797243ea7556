//! Captures: topics recorded to files and played back.
