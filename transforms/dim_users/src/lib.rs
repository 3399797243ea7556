//! Every version of every user: the shop says no more of one than that they are
//! there, so a version ends where a user goes, and another begins where they
//! return.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "public.users")]
struct User {
    user_id: i64,
}

/// Every version of every user.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "dim_users", kind = "scd2")]
struct DimUser {
    #[key]
    user_id: Passed<i64>,
    /// What a report shows, as the shop keeps no names.
    label: String,
}

#[dabi_sdk::transform]
fn dim_users(user: User) -> DimUser {
    DimUser { user_id: passed(), label: format!("user {}", user.user_id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_shown_by_number() {
        assert_eq!(dim_users(User { user_id: 42 }).label, "user 42");
    }
}
