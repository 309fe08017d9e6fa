//! One statement for many rows. Statements come in few sizes, so that both databases keep them
//! prepared.

use crate::{Dialect, dialect_of};
use sqlx::{Any, AnyConnection, AssertSqlSafe, Database, any::AnyArguments, error::BoxDynError};
use std::sync::{Arc, OnceLock};

/// Rows per statement, most first.
const SIZES: [usize; 11] = [64, 32, 16, 8, 7, 6, 5, 4, 3, 2, 1];

/// A statement around a list of rows: `before ($1, $2), ($3, $4) after`.
#[derive(Debug)]
pub struct ManyRows {
    before: &'static str,
    after: &'static str,
    columns: usize,
    /// For each way to write a parameter.
    texts: [[OnceLock<Arc<str>>; SIZES.len()]; 2],
}

impl ManyRows {
    /// A statement whose rows have so many columns.
    pub const fn new(before: &'static str, columns: usize, after: &'static str) -> Self {
        Self {
            before,
            after,
            columns,
            texts: [const { [const { OnceLock::new() }; SIZES.len()] }; 2],
        }
    }

    /// Runs the statement over all rows, in order; `bind` adds a row's values. Says how many rows
    /// of the table it met.
    ///
    /// # Errors
    /// Those of the database and of `bind`; outside a transaction some rows may be written then.
    pub async fn execute<T: Sync>(
        &self,
        connection: &mut AnyConnection,
        mut rows: &[T],
        bind: impl Fn(&mut <Any as Database>::Arguments, &T) -> Result<(), BoxDynError>,
    ) -> Result<u64, sqlx::Error> {
        let mut met = 0_u64;
        let dialect = dialect_of(connection);
        let [plain, numbered] = &self.texts;
        let texts = if dialect == Dialect::Sqlite { plain } else { numbered };
        for (size, text) in SIZES.into_iter().zip(texts) {
            while let Some((now, rest)) = rows.split_at_checked(size) {
                rows = rest;
                let mut arguments = AnyArguments::default();
                for row in now {
                    bind(&mut arguments, row).map_err(sqlx::Error::Encode)?;
                }
                let text = Arc::clone(text.get_or_init(|| self.text(size, dialect).into()));
                let query = sqlx::query_with(AssertSqlSafe(text), arguments);
                met += query.execute(&mut *connection).await?.rows_affected();
            }
        }
        Ok(met)
    }

    /// SQLite finds a parameter that has a number by walking over all names before it, which takes
    /// longer than writing the row when there are hundreds.
    fn text(&self, rows: usize, dialect: Dialect) -> String {
        let place = |number: usize| match dialect {
            Dialect::Sqlite => "?".to_owned(),
            Dialect::Postgres => format!("${number}"),
        };
        let row = |index: usize| {
            let first = index * self.columns + 1;
            let places: Vec<_> = (first..first + self.columns).map(place).collect();
            format!("({})", places.join(", "))
        };
        let rows: Vec<_> = (0..rows).map(row).collect();
        format!("{} {} {}", self.before, rows.join(", "), self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;
    use sqlx::Arguments;

    #[tokio::test]
    async fn any_number_of_rows_is_written_once_each_in_order() {
        static INSERT: ManyRows = ManyRows::new("INSERT INTO rows (number, text) VALUES", 2, "");
        let scratch = Scratch::new();
        let pool = scratch.open().await;
        let table = "CREATE TABLE rows (number BIGINT NOT NULL, text TEXT)";
        sqlx::raw_sql(table).execute(&pool).await.unwrap();
        let mut connection = pool.acquire().await.unwrap();
        for count in [0_i64, 1, 7, 8, 15, 63, 64, 143] {
            sqlx::query("DELETE FROM rows").execute(&mut *connection).await.unwrap();
            let rows: Vec<_> = (0..count).collect();
            let bind = |arguments: &mut AnyArguments, number: &i64| {
                arguments.add(*number)?;
                arguments.add((number % 2 == 0).then(|| number.to_string()))
            };
            let met = INSERT.execute(&mut connection, &rows, bind).await.unwrap();
            assert_eq!(i64::try_from(met).unwrap(), count);
            let query = "SELECT number FROM rows ORDER BY number";
            let found: Vec<i64> =
                sqlx::query_scalar(query).fetch_all(&mut *connection).await.unwrap();
            assert_eq!(found, rows);
        }
    }

    #[test]
    fn a_statement_names_its_parameters_as_the_database_reads_them_best() {
        let statement = ManyRows::new("INSERT INTO t VALUES", 2, "ON CONFLICT DO NOTHING");
        let expected = "INSERT INTO t VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING";
        assert_eq!(statement.text(2, Dialect::Postgres), expected);
        let expected = "INSERT INTO t VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING";
        assert_eq!(statement.text(2, Dialect::Sqlite), expected);
    }
}
