//! One row per user.

use dabi_sdk::prelude::*;

// The function looks at nothing: the one column is passed on.
#[derive(SourceRow)]
#[source(table = "public.users")]
struct User {}

/// One row per user.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "dim_users")]
struct DimUser {
    #[key]
    user_id: Passed<i64>,
}

#[dabi_sdk::transform]
fn dim_users(_user: User) -> DimUser {
    DimUser { user_id: passed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_is_one() {
        assert_eq!(dim_users(User {}), DimUser { user_id: passed() });
    }
}
