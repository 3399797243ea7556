//! One row per customer, as they are now.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.customers")]
struct Customer<'a> {
    email: &'a str,
    #[column(decimal = "base64")]
    credit_limit: Decimal<12, 2>,
    marketing_ok: Option<bool>,
    // Added to the table while it was being captured: rows from before have none.
    loyalty_points: Option<i32>,
}

/// One row per customer, as they are now.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "dim_customers")]
struct DimCustomer<'a> {
    #[key]
    id: Passed<i64>,
    email: &'a str,
    /// The part of the address behind the @, in lower case.
    #[column(low_cardinality)]
    email_domain: Option<String>,
    full_name: Passed<String>,
    phone: Passed<Option<String>>,
    birth_date: Passed<Option<Date>>,
    #[column(low_cardinality)]
    tier: Passed<String>,
    credit_limit: Decimal<12, 2>,
    /// Does the credit limit reach 10,000?
    is_large: bool,
    marketing_ok: Option<bool>,
    prefs: Passed<Json>,
    /// An object of texts and nulls.
    labels: Passed<Option<Json>>,
    created_at: Passed<TimestampTz>,
    updated_at: Passed<Timestamp>,
    loyalty_points: i32,
}

#[dabi_sdk::transform]
fn customers(customer: Customer) -> Result<DimCustomer, RowError> {
    Ok(DimCustomer {
        id: passed(),
        email: customer.email,
        email_domain: customer.email.rsplit_once('@').map(|(_, domain)| domain.to_lowercase()),
        full_name: passed(),
        phone: passed(),
        birth_date: passed(),
        tier: passed(),
        credit_limit: customer.credit_limit,
        is_large: customer.credit_limit >= Decimal::from_whole(10_000)?,
        marketing_ok: customer.marketing_ok,
        prefs: passed(),
        labels: passed(),
        created_at: passed(),
        updated_at: passed(),
        loyalty_points: customer.loyalty_points.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn star(email: &str, credit_limit: &str) -> (Option<String>, bool) {
        let credit_limit = credit_limit.parse().unwrap();
        let row =
            customers(Customer { email, credit_limit, marketing_ok: None, loyalty_points: None }).unwrap();
        (row.email_domain, row.is_large)
    }

    #[test]
    fn the_domain_is_behind_the_last_at() {
        assert_eq!(star("User.afcbffa3b7@Example.com", "0.00").0.as_deref(), Some("example.com"));
        assert_eq!(star("\"a@b\"@example.com", "0.00").0.as_deref(), Some("example.com"));
        assert_eq!(star("nobody", "0.00").0, None);
    }

    #[test]
    fn large_begins_at_ten_thousand() {
        assert!(!star("", "9999.99").1);
        assert!(star("", "10000.00").1);
    }
}
