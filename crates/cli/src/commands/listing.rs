use crate::newest::Cursor;

/// How a listing is cut and printed.
#[derive(Debug, clap::Args)]
pub(crate) struct Paging {
    /// Prints at most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = limit)]
    pub(crate) limit: usize,

    /// Prints what comes after this in the list: TIME or TIME,ID, as the page before said
    #[arg(long, value_name = "CURSOR")]
    pub(crate) before: Option<Cursor>,

    /// Prints one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

fn limit(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|limit| (1..=1_000_000).contains(limit)).ok_or_else(|| "from 1 to 1000000".to_owned())
}
