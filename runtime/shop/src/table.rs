//! The six tables, as data.
//!
//! Owns names, columns, keys and references: DDL, envelopes and statements are
//! made from these.

/// A source table of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the tables' own names")]
pub enum Table {
    Departments,
    Aisles,
    Users,
    Products,
    Orders,
    OrderProducts,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub column_type: ColumnType,
    /// May it be null?
    pub nullable: bool,
}

/// A type of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "PostgreSQL's own names")]
pub enum ColumnType {
    Integer,
    BigInt,
    Boolean,
    Text,
    TimestampTz,
}

/// What the database writes to its log about the old row of an update or delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The primary key, PostgreSQL's own choice.
    #[default]
    Default,
    /// The whole row.
    Full,
}

impl Table {
    /// All, each behind those that it refers to.
    pub const ALL: [Self; 6] =
        [Self::Departments, Self::Aisles, Self::Users, Self::Products, Self::Orders, Self::OrderProducts];

    /// Its name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Departments => "departments",
            Self::Aisles => "aisles",
            Self::Users => "users",
            Self::Products => "products",
            Self::Orders => "orders",
            Self::OrderProducts => "order_products",
        }
    }

    /// Its columns in order, the key first.
    #[must_use]
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Departments => const { &[integer("department_id"), text("department")] },
            Self::Aisles => const { &[integer("aisle_id"), text("aisle")] },
            Self::Users => const { &[bigint("user_id")] },
            Self::Products => PRODUCTS,
            Self::Orders => ORDERS,
            Self::OrderProducts => ORDER_PRODUCTS,
        }
    }

    /// How many of its columns are the primary key.
    #[must_use]
    pub fn key_columns(self) -> usize {
        match self {
            Self::OrderProducts => 2,
            _ => 1,
        }
    }

    /// Column and table of each foreign key.
    #[must_use]
    pub fn references(self) -> &'static [(&'static str, Self)] {
        match self {
            Self::Departments | Self::Aisles | Self::Users => &[],
            Self::Products => &[("aisle_id", Self::Aisles), ("department_id", Self::Departments)],
            Self::Orders => &[("user_id", Self::Users)],
            Self::OrderProducts => &[("order_id", Self::Orders), ("product_id", Self::Products)],
        }
    }

    /// The table and all that refer to it, directly or not: what has to be
    /// truncated with it.
    #[must_use]
    pub fn with_referrers(self) -> Vec<Self> {
        let mut tables = vec![self];
        // A table stands behind those that it refers to, so one pass finds all.
        for table in Self::ALL {
            let refers = table.references().iter().any(|(_, to)| tables.contains(to));
            if refers && !tables.contains(&table) {
                tables.push(table);
            }
        }
        tables
    }
}

const PRODUCTS: &[Column] = &[
    integer("product_id"),
    text("product_name"),
    integer("aisle_id"),
    integer("department_id"),
    Column { name: "description", column_type: ColumnType::Text, nullable: true },
];

const ORDERS: &[Column] = &[
    bigint("order_id"),
    bigint("user_id"),
    Column { name: "order_date", column_type: ColumnType::TimestampTz, nullable: false },
    Column { name: "tip_given", column_type: ColumnType::Boolean, nullable: true },
];

const ORDER_PRODUCTS: &[Column] = &[bigint("order_id"), integer("product_id"), integer("add_to_cart_order")];

const fn integer(name: &'static str) -> Column {
    Column { name, column_type: ColumnType::Integer, nullable: false }
}

const fn bigint(name: &'static str) -> Column {
    Column { name, column_type: ColumnType::BigInt, nullable: false }
}

const fn text(name: &'static str) -> Column {
    Column { name, column_type: ColumnType::Text, nullable: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncate_takes_the_tables_that_refer_to_it() {
        assert_eq!(Table::OrderProducts.with_referrers(), [Table::OrderProducts]);
        assert_eq!(Table::Users.with_referrers(), [Table::Users, Table::Orders, Table::OrderProducts]);
        assert_eq!(Table::Aisles.with_referrers(), [Table::Aisles, Table::Products, Table::OrderProducts]);
    }
}
