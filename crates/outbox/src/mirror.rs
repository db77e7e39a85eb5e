//! Copies relayed posts into `posts_admin_mirror`, where a newer version stays.

use sqlx::{Connection, PgConnection};

use crate::Error;
use crate::error::{Attempted, is_transient};

/// Copies documents; gives back, for each that the mirror refuses, its index and why.
///
/// Runs inside the claim's transaction, under a savepoint, so that one refused document spoils nothing else.
pub(crate) async fn copy(connection: &mut PgConnection, documents: &[String]) -> Result<Vec<(usize, String)>, Error> {
    if documents.is_empty() || insert(connection, documents).await?.is_none() {
        return Ok(Vec::new());
    }
    let mut refused = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        if let Some(why) = insert(connection, std::slice::from_ref(document)).await? {
            refused.push((index, why));
        }
    }
    Ok(refused)
}

/// `Some` with the reason when the mirror refuses one of them; then none of them is in.
async fn insert(connection: &mut PgConnection, documents: &[String]) -> Result<Option<String>, Error> {
    let attempt = || format!("mirror {} posts", documents.len());
    let mut savepoint = connection.begin().await.attempted(attempt)?;
    let done = sqlx::query("SELECT mirror_posts($1::text[]::jsonb[])").bind(documents).execute(&mut *savepoint).await;
    match done {
        Ok(_) => savepoint.commit().await.attempted(attempt).map(|()| None),
        Err(error) if is_transient(&error) || !is_about_data(&error) => Err(error).attempted(attempt),
        Err(error) => {
            savepoint.rollback().await.attempted(attempt)?;
            Ok(Some(format!("mirror the post: {error}")))
        }
    }
}

/// Classes 22 (data exception) and 23 (integrity constraint): the document's own fault.
fn is_about_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}
