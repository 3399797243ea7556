//! The star: tables, keys, DDL and rows as data.
