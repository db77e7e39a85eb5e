use feedmill_cache::Cache;
use feedmill_clock::Entropy;
use secrecy::ExposeSecret;

use crate::address::Address;
use crate::error::{Failure, Result};
use crate::settings::Settings;

const ADDRESS: Address = Address {
    server: "Redis",
    variable: "FEEDMILL_REDIS_URL",
    setting: "cache.url_file",
    schemes: ["redis://", "rediss://"],
    hint: "FEEDMILL_REDIS_URL, or the file that cache.url_file names, says where Redis is: rediss://:PASSWORD@HOST:PORT/; \
           cache.enabled=false does without",
};

/// The cache, where the settings want one. Redis itself may come later.
pub(crate) fn cache(settings: &Settings, entropy: &Entropy) -> Result<Option<Cache>> {
    if !settings.cache.enabled {
        return Ok(None);
    }
    let url = ADDRESS.read(&settings.cache.url_file)?;
    let mut options = settings.cache.clone();
    // Nobody is shown more than a feed shows.
    options.feed_items_max =
        settings.user_feed.feed_items_max.map_or(usize::MAX, usize::from).min(options.feed_items_max);
    let cache = Cache::open(url.expose_secret(), options, entropy.clone());
    cache.map(Some).map_err(|error| Failure::misuse(error, ADDRESS.hint))
}
