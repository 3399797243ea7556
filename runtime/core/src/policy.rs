//! What is done about an error: pure tables from error kind to action.
//!
//! Owns the decision. Does not own carrying it out, nor the remedy's words,
//! which stand with each error type.

/// What is done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Wait and send the same again: it will pass.
    Retry,
    /// Stop with the remedy: only a person can help.
    Halt,
}

/// Codes of ClickHouse exceptions that pass by themselves, from its
/// `ErrorCodes.cpp`: overload, too many parts, memory, disk, replicas and
/// keepers that are away, queries that were killed or timed out.
const CLICKHOUSE_TRANSIENT: [u32; 30] = [
    3, 74, 75, 159, 160, 198, 202, 203, 209, 210, 225, 236, 241, 242, 243, 252, 279, 285, 286, 319, 373, 394,
    425, 439, 499, 745, 999, 1000, 1001, 1002,
];

/// What is done about a ClickHouse exception.
#[must_use]
pub fn clickhouse(code: u32) -> Action {
    if CLICKHOUSE_TRANSIENT.contains(&code) { Action::Retry } else { Action::Halt }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_passes_and_a_wrong_schema_does_not() {
        let (too_many_parts, memory_limit) = (252, 241);
        let (no_such_column, type_mismatch, authentication) = (16, 53, 516);
        assert_eq!([too_many_parts, memory_limit].map(clickhouse), [Action::Retry; 2]);
        assert_eq!([no_such_column, type_mismatch, authentication].map(clickhouse), [Action::Halt; 3]);
    }
}
