//! What does a counter cost for each change, by the size of its subject and by how fast changes come?
//!
//! Everything is counted on the simulated clock, so the figures do not depend on the machine. Writes a table, JSON, and a plot.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use feedmill_simulation::Subject;
use serde_json::{Value, json};

const SIZES: [usize; 4] = [1, 100, 10_000, 1_000_000];
/// From one change to the next, in milliseconds.
const GAPS_MS: [u64; 6] = [0, 1, 10, 100, 1_000, 10_000];
/// For so long changes come, where they come slowly enough.
const LASTS: Duration = Duration::from_secs(600);
/// As many at least and at most.
const CHANGES: (u64, u64) = (20, 20_000);

type Failure = Box<dyn std::error::Error>;

struct Cell {
    size: usize,
    gap_ms: u64,
    changes: usize,
    counts: u64,
    units_per_change: f64,
    units_per_second: f64,
}

fn main() -> Result<(), Failure> {
    let mut cells = Vec::new();
    for size in SIZES {
        for gap_ms in GAPS_MS {
            let changes = u64::try_from(LASTS.as_millis())?.checked_div(gap_ms).unwrap_or(u64::MAX);
            let changes = usize::try_from(changes.clamp(CHANGES.0, CHANGES.1))?;
            let cost = Subject { size, changes, gap: Duration::from_millis(gap_ms) }.play()?;
            eprintln!("{size} reactions, every {gap_ms} ms: {cost:?}");
            cells.push(Cell {
                size,
                gap_ms,
                changes,
                counts: cost.counts,
                units_per_change: cost.units / changes as f64,
                units_per_second: cost.units / cost.took.as_secs_f64(),
            });
        }
    }
    print(&cells);
    let report: Vec<Value> = cells
        .iter()
        .map(|cell| {
            json!({"size": cell.size, "gap_ms": cell.gap_ms, "changes": cell.changes, "counts": cell.counts,
            "units_per_change": cell.units_per_change, "units_per_second": cell.units_per_second})
        })
        .collect();
    let (report_path, plot_path) = (path("target/bench/counters.json"), path("benches/counters.svg"));
    std::fs::create_dir_all(report_path.parent().ok_or("the report has a folder")?)?;
    std::fs::write(&report_path, serde_json::to_vec_pretty(&report)?)?;
    std::fs::write(&plot_path, plot(&cells)?)?;
    println!("\nas JSON: target/bench/counters.json, as a plot: benches/counters.svg");
    Ok(())
}

/// Below the root of the workspace.
fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(below)
}

fn print(cells: &[Cell]) {
    println!("| a change every | changes | {} |", SIZES.map(|size| format!("on {size}")).join(" | "));
    println!("|---|---|{}", "---|".repeat(SIZES.len()));
    for gap_ms in GAPS_MS {
        let row: Vec<&Cell> = cells.iter().filter(|cell| cell.gap_ms == gap_ms).collect();
        let shown = |cell: &&Cell| {
            format!("{:.1} RU ({} counts, {:.0} RU/s)", cell.units_per_change, cell.counts, cell.units_per_second)
        };
        let (changes, row) = (row[0].changes, row.iter().map(shown).collect::<Vec<_>>());
        println!("| {gap_ms} ms | {changes} | {} |", row.join(" | "));
    }
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const MARGIN: f64 = 60.0;
const COLORS: [&str; 4] = ["#1b9e77", "#d95f02", "#7570b3", "#e7298a"];

/// Request units for each change over the gap between two, both as powers of ten; a line for each size.
fn plot(cells: &[Cell]) -> Result<String, Failure> {
    // Nothing comes after nothing: what comes as fast as it can be read stands left of the fastest pace.
    let x_power = |gap_ms: u64| if gap_ms == 0 { -1.0 } else { (gap_ms as f64).log10() };
    let top = cells.iter().map(|cell| cell.units_per_change.log10()).fold(0.0, f64::max).ceil();
    let x = |power: f64| MARGIN + (power + 1.0) / 5.0 * (WIDTH - 2.0 * MARGIN - 60.0);
    let y = |power: f64| HEIGHT - MARGIN - power / top * (HEIGHT - 2.0 * MARGIN);
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
<text x="{MARGIN}" y="24" font-size="14">Request units for each change of a counter</text>
<text x="{}" y="{}" text-anchor="middle">from one change to the next</text>"#,
        WIDTH / 2.0,
        HEIGHT - 16.0
    )?;
    for gap_ms in GAPS_MS {
        let label = match gap_ms {
            0 => "at once".to_owned(),
            1..1_000 => format!("{gap_ms} ms"),
            _ => format!("{} s", gap_ms / 1_000),
        };
        let (x, bottom) = (x(x_power(gap_ms)), HEIGHT - MARGIN + 18.0);
        writeln!(svg, r#"<text x="{x:.0}" y="{bottom}" text-anchor="middle">{label}</text>"#)?;
    }
    let mut power = 0.0;
    while power <= top {
        let (y, right) = (y(power), WIDTH - MARGIN - 60.0);
        writeln!(svg, r##"<line x1="{MARGIN}" y1="{y:.0}" x2="{right}" y2="{y:.0}" stroke="#ddd"/>"##)?;
        let label = 10_f64.powf(power);
        writeln!(svg, r#"<text x="{}" y="{:.0}" text-anchor="end">{label}</text>"#, MARGIN - 6.0, y + 4.0)?;
        power += 1.0;
    }
    for (size, color) in SIZES.into_iter().zip(COLORS) {
        let line: Vec<(f64, f64)> = cells
            .iter()
            .filter(|cell| cell.size == size)
            .map(|cell| (x(x_power(cell.gap_ms)), y(cell.units_per_change.log10().max(0.0))))
            .collect();
        let points = line.iter().map(|(x, y)| format!("{x:.0},{y:.0}")).collect::<Vec<_>>().join(" ");
        writeln!(svg, r#"<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>"#)?;
        let (x, y) = line.last().ok_or("a line has points")?;
        writeln!(svg, r#"<text x="{:.0}" y="{:.0}" fill="{color}">{size} reactions</text>"#, x + 8.0, y + 4.0)?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}
