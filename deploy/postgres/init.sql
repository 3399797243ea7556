-- Runs once, as superuser in the database `shop`, before anything connects.
-- The passwords come from the environment (deploy/local.env).
\set ON_ERROR_STOP on
\getenv shop_password SHOP_PASSWORD
\getenv debezium_password DEBEZIUM_PASSWORD

-- The owner of the database, and so of its tables.
CREATE ROLE shop LOGIN PASSWORD :'shop_password';
ALTER DATABASE shop OWNER TO shop;

-- Reads the tables once, then their changes; it may change nothing.
CREATE ROLE debezium LOGIN REPLICATION PASSWORD :'debezium_password';
ALTER DEFAULT PRIVILEGES FOR ROLE shop IN SCHEMA public GRANT SELECT ON TABLES TO debezium;

-- Every table of the schema, also those that are made later.
CREATE PUBLICATION shop FOR TABLES IN SCHEMA public;
