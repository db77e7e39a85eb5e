//! How long do posts to few wait while one post goes to a million, and who serves the million?
//!
//! Everything is counted on the simulated clock, so the figures do not depend on the machine; only how long the bench itself
//! takes does. `FEEDMILL_BENCH_FOLLOWERS` changes the million, `FEEDMILL_BENCH_CRASH` kills a host in the middle.

use feedmill_simulation::Audience;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let followers = std::env::var("FEEDMILL_BENCH_FOLLOWERS").map_or(Ok(1_000_000), |text| text.parse())?;
    let crash = std::env::var_os("FEEDMILL_BENCH_CRASH").is_some();
    for units_per_second in [20_000.0, 100_000.0] {
        let figures = Audience { crash, units_per_second, ..Audience::of(followers) }.play()?;
        println!("{followers} followers, {units_per_second} RU/s a container\n{figures}\n");
    }
    Ok(())
}
