use serde::Serialize;

use crate::error::Result;
use crate::output::{Lines, Table};

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    pub(super) says: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    Good,
    /// It works, and somebody should look.
    Warning,
    /// It does not work, or it loses something.
    Bad,
    /// It could not be found out from here.
    Unknown,
}

impl Finding {
    pub(super) fn good(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, says: says.into(), advice: None }
    }

    pub(super) fn warning(check: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, says: says.into(), advice: Some(advice.into()) }
    }

    pub(super) fn bad(check: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Bad, says: says.into(), advice: Some(advice.into()) }
    }

    pub(super) fn unknown(check: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Unknown, says: says.into(), advice: Some(advice.into()) }
    }

    /// Of a request that failed.
    pub(super) fn of_error(check: &'static str, error: impl Into<anyhow::Error>, advice: impl Into<String>) -> Self {
        Self::bad(check, format!("{:#}", error.into()), advice)
    }
}

pub(super) fn print(findings: &[Finding], json: bool) -> Result<()> {
    if json {
        let mut lines = Lines::to_stdout();
        for finding in findings {
            lines.print(finding)?;
        }
        return Ok(lines.finish()?);
    }
    let mut table = Table::new(&["check", "", "found, and what to do"]);
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Good => "good",
            Verdict::Warning => "look",
            Verdict::Bad => "bad",
            Verdict::Unknown => "?",
        };
        let says = match &finding.advice {
            Some(advice) => format!("{}\n→ {advice}", finding.says),
            None => finding.says.clone(),
        };
        table.row([finding.check.to_owned(), verdict.to_owned(), says]);
    }
    Ok(table.print()?)
}
