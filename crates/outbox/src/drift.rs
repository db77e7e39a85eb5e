//! Compares a live schema with what the migrations make.
//!
//! The migrations run into a schema of their own inside a transaction that is rolled back; both schemas are then described
//! from the catalogue and compared. So the expectation is the migrations themselves and needs no second description.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::Error;
use crate::error::Attempted;
use crate::schema::migrations;
use crate::table::quoted;

/// An object of the live schema that is not as the migrations make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Such as `column posts.body`.
    pub object: String,
    /// `None`: the migrations do not make it.
    pub expected: Option<String>,
    /// `None`: it is missing.
    pub found: Option<String>,
}

/// Objects by name, with their definitions.
type Objects = BTreeMap<String, String>;

const SHADOW: &str = "feedmill_schema_check";

/// What differs, by object; nothing when the schema is as the migrations make it. Tables and functions that the migrations
/// know nothing of are not looked at. Changes nothing; needs the right to create a schema.
pub async fn check(pool: &PgPool) -> Result<Vec<Drift>, Error> {
    let attempt = || "compare the schema with the migrations".to_owned();
    let mut connection = pool.acquire().await.attempted(attempt)?;
    let mut transaction = connection.begin().await.attempted(attempt)?;
    let live: Option<String> =
        sqlx::query_scalar("SELECT current_schema()::text").fetch_one(&mut *transaction).await.attempted(attempt)?;
    let live = live.ok_or_else(|| Error::Settings("the search path names no schema that exists".to_owned()))?;
    let path = format!("{}, {}", quoted(SHADOW)?, quoted(&live)?);
    for statement in [format!("CREATE SCHEMA {}", quoted(SHADOW)?), format!("SET LOCAL search_path = {path}, public")] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *transaction).await.attempted(attempt)?;
    }
    for migration in migrations() {
        sqlx::raw_sql(migration.sql.clone())
            .execute(&mut *transaction)
            .await
            .attempted(|| format!("try migration {} in a schema of its own", migration.version))?;
    }
    let (tables, functions): (Vec<String>, Vec<String>) = sqlx::query_as(
        "SELECT ARRAY(SELECT relname::text FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r'),
                ARRAY(SELECT DISTINCT proname::text FROM pg_proc WHERE pronamespace = $1::regnamespace)",
    )
    .bind(SHADOW)
    .fetch_one(&mut *transaction)
    .await
    .attempted(attempt)?;
    let expected = describe(&mut transaction, SHADOW, &tables, &functions).await?;
    let found = describe(&mut transaction, &live, &tables, &functions).await?;
    transaction.rollback().await.attempted(attempt)?;
    Ok(compare(expected, found))
}

async fn describe(
    connection: &mut PgConnection,
    schema: &str,
    tables: &[String],
    functions: &[String],
) -> Result<Objects, Error> {
    let attempt = || format!("describe schema {schema}");
    // Only this schema and the one with the extensions' types, or names would be qualified by the other of the two.
    let path = format!("SET LOCAL search_path = {}, public", quoted(schema)?);
    sqlx::raw_sql(AssertSqlSafe(path)).execute(&mut *connection).await.attempted(attempt)?;
    let objects: Vec<(String, String)> = sqlx::query_as(include_str!("drift.sql"))
        .bind(schema)
        .bind(tables)
        .bind(functions)
        .fetch_all(connection)
        .await
        .attempted(attempt)?;
    // What the server qualifies all the same is made equal, and so are its quotes around it.
    let plain = |text: &str| {
        let unqualified = text.replace(&format!("\"{schema}\"."), "").replace(&format!("{schema}."), "");
        unqualified.replace(&format!("'{schema}'"), "'<schema>'")
    };
    Ok(objects.into_iter().map(|(object, definition)| (plain(&object), plain(&definition))).collect())
}

fn compare(mut expected: Objects, found: Objects) -> Vec<Drift> {
    let mut drifts = Vec::new();
    for (object, found) in found {
        let expected = expected.remove(&object);
        if expected.as_ref() != Some(&found) {
            drifts.push(Drift { object, expected, found: Some(found) });
        }
    }
    drifts.extend(expected.into_iter().map(|(object, expected)| Drift {
        object,
        expected: Some(expected),
        found: None,
    }));
    drifts.sort_by(|a, b| a.object.cmp(&b.object));
    drifts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_unexpected_or_different_is_drift() {
        let objects = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let drifts =
            compare(objects(&[("a", "1"), ("b", "1"), ("c", "1")]), objects(&[("a", "1"), ("b", "2"), ("d", "1")]));
        let of = |object: &str, expected: Option<&str>, found: Option<&str>| Drift {
            object: object.to_owned(),
            expected: expected.map(str::to_owned),
            found: found.map(str::to_owned),
        };
        assert_eq!(drifts, [of("b", Some("1"), Some("2")), of("c", Some("1"), None), of("d", None, Some("1"))]);
    }
}
