//! The connection to PostgreSQL.
//!
//! Owns the wait for it, reading the shop's tables from it, and which of its
//! errors may pass. Does not own the statements that change anything
//! (`dabi_shop::sql`).

use std::error::Error as _;
use std::time::Duration;

use anyhow::bail;
use dabi_shop::{
    Aisle, AisleId, Department, DepartmentId, Ids, Micros, Order, OrderId, OrderProduct, Product, ProductId,
    Row, Table, Tables, User, UserId, sql,
};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, Error, NoTls};

/// How long one attempt may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// An open connection.
pub(crate) struct Database {
    client: Client,
    schema: String,
}

impl Database {
    /// Connects, waiting up to `wait` for a database that is not there yet.
    pub(crate) async fn connect(config: &Config, schema: &str, wait: Duration) -> anyhow::Result<Self> {
        let deadline = Instant::now() + wait;
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match timeout(ANSWER_WITHIN, config.connect(NoTls)).await {
                Ok(Ok((client, connection))) => {
                    // Its error ends the client's next request too.
                    tokio::spawn(connection);
                    return Ok(Self { client, schema: schema.to_owned() });
                }
                Ok(Err(error)) if !may_pass(&error) => {
                    return Err(anyhow::Error::from(error).context(format!(
                        "connect to PostgreSQL at {}: check user, password and database in --url",
                        address(config)
                    )));
                }
                Ok(Err(error)) => format!("{:#}", anyhow::Error::from(error)),
                Err(_) => format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
            };
            if Instant::now() + pause >= deadline {
                bail!(
                    "no PostgreSQL at {} within {} s: {failure}; start it, or mend --url or --wait",
                    address(config),
                    wait.as_secs()
                );
            }
            if pause == FIRST_PAUSE {
                eprintln!("waiting for PostgreSQL at {}: {failure}", address(config));
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Runs a script.
    pub(crate) async fn execute(&self, script: &str) -> Result<(), Error> {
        self.client.batch_execute(script).await
    }

    /// All rows, and the ids given last, at one moment.
    pub(crate) async fn load(&self) -> Result<(Tables, Ids), Error> {
        self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let mut tables = Tables::default();
        for table in Table::ALL {
            for row in self.client.query(&select(&self.schema, table), &[]).await? {
                tables.put(read(table, &row)?);
            }
        }
        let ids = Ids {
            user: UserId(self.last_id(Table::Users).await?),
            product: ProductId(i32::try_from(self.last_id(Table::Products).await?).unwrap_or(i32::MAX)),
            order: OrderId(self.last_id(Table::Orders).await?),
        };
        self.execute("COMMIT").await?;
        Ok((tables, ids))
    }

    /// The highest id that was ever given, by the sequence or by hand.
    async fn last_id(&self, table: Table) -> Result<i64, Error> {
        let (sequence, column) = (sql::sequence(&self.schema, table), table.columns()[0].name);
        let query = format!(
            "SELECT greatest((SELECT max({column})::bigint FROM {}), \
             (SELECT last_value FROM {sequence} WHERE is_called), 0)",
            sql::qualified(&self.schema, table)
        );
        self.client.query_one(&query, &[]).await?.try_get(0)
    }
}

/// Is it worth reading the tables and trying again? The database was away, or
/// somebody else changed a row that the shop was about to.
pub(crate) fn may_pass(error: &Error) -> bool {
    match error.code() {
        Some(state) => {
            // Connection, integrity, rollback, resources, intervention.
            ["08", "23", "40", "53", "57"].contains(&state.code().get(..2).unwrap_or_default())
        }
        None => {
            error.is_closed() || error.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
        }
    }
}

fn select(schema: &str, table: Table) -> String {
    let columns = table.columns().iter().map(|column| match column.name {
        // As a number, exactly. Infinity, which only a hand can have put there, is none.
        name @ "order_date" => {
            format!(
                "CASE WHEN isfinite({name}) THEN (extract(epoch FROM {name}) * 1000000)::bigint ELSE 0 END"
            )
        }
        name => name.to_owned(),
    });
    format!("SELECT {} FROM {}", columns.collect::<Vec<_>>().join(", "), sql::qualified(schema, table))
}

fn read(table: Table, row: &tokio_postgres::Row) -> Result<Row, Error> {
    Ok(match table {
        Table::Departments => Department {
            department_id: DepartmentId(row.try_get(0)?),
            department: row.try_get::<_, &str>(1)?.into(),
        }
        .into(),
        Table::Aisles => {
            Aisle { aisle_id: AisleId(row.try_get(0)?), aisle: row.try_get::<_, &str>(1)?.into() }.into()
        }
        Table::Users => User { user_id: UserId(row.try_get(0)?) }.into(),
        Table::Products => Product {
            product_id: ProductId(row.try_get(0)?),
            product_name: row.try_get::<_, &str>(1)?.into(),
            aisle_id: AisleId(row.try_get(2)?),
            department_id: DepartmentId(row.try_get(3)?),
            description: row.try_get::<_, Option<&str>>(4)?.map(Into::into),
        }
        .into(),
        Table::Orders => Order {
            order_id: OrderId(row.try_get(0)?),
            user_id: UserId(row.try_get(1)?),
            order_date: Micros(row.try_get(2)?),
            tip_given: row.try_get(3)?,
        }
        .into(),
        Table::OrderProducts => OrderProduct {
            order_id: OrderId(row.try_get(0)?),
            product_id: ProductId(row.try_get(1)?),
            add_to_cart_order: row.try_get(2)?,
        }
        .into(),
    })
}

/// Without user and password.
fn address(config: &Config) -> String {
    let hosts = config.get_hosts().iter().zip(config.get_ports().iter().chain(std::iter::repeat(&5432)));
    let hosts = hosts.map(|(host, port)| match host {
        Host::Tcp(name) => format!("{name}:{port}"),
        Host::Unix(folder) => folder.display().to_string(),
    });
    hosts.collect::<Vec<_>>().join(", ")
}
