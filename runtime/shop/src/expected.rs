//! What the star must hold: its targets, computed from the shop's rows.
//!
//! Owns a formulation of its own, independent of the transforms. Both sides of a
//! comparison are texts: [`Target::select`] prints a row of ClickHouse as the
//! array of texts that [`Shop::expected`] gives.
//!
//! | value | text |
//! |---|---|
//! | a number | decimal |
//! | a flag | `true`, `false` |
//! | a day | `2026-11-25` |
//! | a time | `2026-11-25 18:04:05.123456`, UTC |
//! | a text | itself |

use chrono::{DateTime, Datelike, NaiveDate, Weekday};

use crate::row::{Order, OrderProduct, UserId};
use crate::shop::Shop;
use crate::tables::Tables;
use crate::transaction::Micros;

/// The first and the last day of `dim_date`: what the calendar of a pipeline
/// has that sets no other.
pub const CALENDAR: [&str; 2] = ["2000-01-01", "2049-12-31"];

/// A table of the star.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the tables' own names")]
pub enum Target {
    FOrders,
    FOrderLines,
    DimProducts,
    DimUsers,
    DimAisles,
    DimDepartments,
    DimDate,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::FOrders,
        Self::FOrderLines,
        Self::DimProducts,
        Self::DimUsers,
        Self::DimAisles,
        Self::DimDepartments,
        Self::DimDate,
    ];

    /// Its name in ClickHouse.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FOrders => "f_orders",
            Self::FOrderLines => "f_order_lines",
            Self::DimProducts => "dim_products",
            Self::DimUsers => "dim_users",
            Self::DimAisles => "dim_aisles",
            Self::DimDepartments => "dim_departments",
            Self::DimDate => "dim_date",
        }
    }

    /// Its columns that are compared: all but `f_orders.day_part`, which the
    /// demo invites to play with.
    #[must_use]
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::FOrders => &["order_id", "user_id", "order_date", "date_key", "is_tip_given"],
            Self::FOrderLines => &[
                "order_id",
                "product_id",
                "add_to_cart_order",
                "user_id",
                "order_date",
                "date_key",
                "product_name",
                "aisle",
                "department",
            ],
            Self::DimProducts => &["product_id", "product_name", "aisle_id", "department_id", "is_organic"],
            Self::DimUsers => &["user_id", "label"],
            Self::DimAisles => &["aisle_id", "aisle"],
            Self::DimDepartments => &["department_id", "department"],
            Self::DimDate => &["date_key", "date", "year", "month", "month_name", "is_weekend"],
        }
    }

    /// An expression of ClickHouse for a row as an array of texts.
    ///
    /// ```
    /// # use dabi_shop::Target;
    /// assert_eq!(Target::DimAisles.select(), "[toString(aisle_id), toString(aisle)]");
    /// ```
    #[must_use]
    pub fn select(self) -> String {
        let columns = self.columns().iter().map(|column| format!("toString({column})"));
        format!("[{}]", columns.collect::<Vec<_>>().join(", "))
    }
}

impl Shop {
    /// The rows of `target` that the star must hold now, sorted.
    #[must_use]
    pub fn expected(&self, target: Target) -> Vec<Vec<String>> {
        let tables = self.tables();
        let mut rows: Vec<Vec<String>> = match target {
            Target::FOrders => tables.orders.values().map(order).collect(),
            Target::FOrderLines => tables.lines.values().map(|row| line(row, tables)).collect(),
            Target::DimProducts => {
                let products = tables.products.values().map(|row| {
                    vec![
                        row.product_id.0.to_string(),
                        row.product_name.to_string(),
                        row.aisle_id.0.to_string(),
                        row.department_id.0.to_string(),
                        // The shop has no other word for it, and none that contains it.
                        row.product_name.starts_with("Organic ").to_string(),
                    ]
                });
                products.collect()
            }
            Target::DimUsers => {
                let users = tables.users.keys().map(|UserId(id)| vec![id.to_string(), format!("user {id}")]);
                users.collect()
            }
            Target::DimAisles => tables
                .aisles
                .values()
                .map(|row| vec![row.aisle_id.0.to_string(), row.aisle.to_string()])
                .collect(),
            Target::DimDepartments => {
                let departments = tables
                    .departments
                    .values()
                    .map(|row| vec![row.department_id.0.to_string(), row.department.to_string()]);
                departments.collect()
            }
            Target::DimDate => days(),
        };
        rows.sort_unstable();
        rows
    }
}

fn order(row: &Order) -> Vec<String> {
    let [time, date_key] = ordered(row);
    let is_tip_given = row.tip_given.unwrap_or(false).to_string();
    vec![row.order_id.0.to_string(), row.user_id.0.to_string(), time, date_key, is_tip_given]
}

/// The shop keeps its references whole: what a line refers to is there.
fn line(row: &OrderProduct, tables: &Tables) -> Vec<String> {
    let (order, product) = (&tables.orders[&row.order_id], &tables.products[&row.product_id]);
    let [time, date_key] = ordered(order);
    vec![
        row.order_id.0.to_string(),
        row.product_id.0.to_string(),
        row.add_to_cart_order.to_string(),
        order.user_id.0.to_string(),
        time,
        date_key,
        product.product_name.to_string(),
        tables.aisles[&product.aisle_id].aisle.to_string(),
        tables.departments[&product.department_id].department.to_string(),
    ]
}

/// The days of the calendar. The shop has no part in it.
fn days() -> Vec<Vec<String>> {
    let [first, last]: [NaiveDate; 2] = CALENDAR.map(|day| day.parse().expect("a day"));
    let days = first.iter_days().take_while(|day| *day <= last);
    let day = |day: NaiveDate| {
        let is_weekend = matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        let written = ["%Y%m%d", "%Y-%m-%d", "%Y", "%-m", "%B"].map(|form| day.format(form).to_string());
        written.into_iter().chain([is_weekend.to_string()]).collect()
    };
    days.map(day).collect()
}

/// When an order was made, and the key of that day.
fn ordered(row: &Order) -> [String; 2] {
    let Micros(us) = row.order_date;
    let time = DateTime::from_timestamp_micros(us).expect("the shop's times are of this age");
    let date_key = i64::from(time.year()) * 10_000 + i64::from(time.month() * 100 + time.day());
    [time.format("%Y-%m-%d %H:%M:%S%.6f").to_string(), date_key.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::OrderId;

    #[test]
    fn an_order_as_texts() {
        let order_date = Micros(1_764_115_445_000_120);
        let row = Order { order_id: OrderId(7), user_id: UserId(3), order_date, tip_given: None };
        assert_eq!(order(&row), ["7", "3", "2025-11-26 00:04:05.000120", "20251126", "false"]);
    }

    #[test]
    fn a_day_as_texts() {
        let days = days();
        assert_eq!(days.len(), 18_263);
        assert_eq!(days[0], ["20000101", "2000-01-01", "2000", "1", "January", "true"]);
        assert_eq!(days[59], ["20000229", "2000-02-29", "2000", "2", "February", "false"]);
    }
}
