//! Does this machine's clock agree with the store's?

use bytes::Bytes;
use feedmill_clock::{Clock, Entropy};
use feedmill_store_api::{Container, DocumentId, Error, ErrorKind, Operation, PartitionKey, ReadLevel};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::finding::Finding;

const CHECK: &str = "clock";

/// Times to live and ages are computed with it; more than this shows.
const SKEW_SECONDS_MAX: i64 = 5;

/// The document expires by itself if it cannot be removed.
const TTL_SECONDS: u32 = 60;

/// Writes one document into the container of leases, looks when the store says it was written, and removes it.
pub(super) async fn look(leases: &dyn Container, clock: &dyn Clock, entropy: &Entropy) -> Finding {
    match written(leases, clock, entropy).await {
        Ok((before, by_store, after)) => judge(skew_seconds(before, by_store, after)),
        Err(error) => Finding::of_error(CHECK, error, "the leases container must be written to: see permissions"),
    }
}

/// When it was written: between two looks at our clock, and by the store's.
async fn written(leases: &dyn Container, clock: &dyn Clock, entropy: &Entropy) -> Result<(i64, i64, i64), Error> {
    #[derive(Deserialize)]
    struct Stamp {
        _ts: i64,
    }
    let name = format!("feedmill.doctor.{:016x}", entropy.next_u64());
    let id = DocumentId::new(name.clone()).expect("letters, dots and digits are a legal id");
    let key = PartitionKey::from(name.as_str());
    let body = json!({ "id": name, "partitionKey": name, "ttl": TTL_SECONDS });
    let second = |time: Timestamp| time.as_second();
    let before = second(clock.now());
    leases.write(&key, Operation::Create { id: id.clone(), body: Bytes::from(body.to_string()) }).await?;
    let after = second(clock.now());
    let (found, _) = leases.read(&key, &id, &ReadLevel::Quorum).await?;
    let found = found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("read {name} back: it is gone")))?;
    let Stamp { _ts } = found.parse()?;
    leases.write(&key, Operation::Delete { id, if_match: None }).await?;
    Ok((before, _ts, after))
}

/// How far our clock is ahead; 0 where the store's second lies between ours. Both are cut to whole seconds.
fn skew_seconds(before: i64, by_store: i64, after: i64) -> i64 {
    if by_store < before {
        before - by_store
    } else if by_store > after {
        after - by_store
    } else {
        0
    }
}

fn judge(ahead: i64) -> Finding {
    let said = match ahead {
        -1..=1 => return Finding::good(CHECK, "this machine and the store agree to a second"),
        ahead if ahead > 0 => format!("this machine is {ahead} s ahead of the store"),
        ahead => format!("this machine is {} s behind the store", -ahead),
    };
    match ahead.abs() > SKEW_SECONDS_MAX {
        true => Finding::bad(CHECK, said, "let NTP set it: times to live, lags and expiries are computed with it"),
        false => Finding::warning(CHECK, said, "is NTP running?"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn a_second_is_rounding_and_more_is_told_with_its_sign() {
        assert_eq!(skew_seconds(10, 11, 12), 0);
        let table = [
            ((10, 10, 10), Verdict::Good, "agree"),
            ((11, 10, 11), Verdict::Good, "agree"),
            ((14, 10, 15), Verdict::Warning, "4 s ahead"),
            ((10, 13, 10), Verdict::Warning, "3 s behind"),
            ((100, 10, 100), Verdict::Bad, "90 s ahead"),
            ((10, 100, 11), Verdict::Bad, "89 s behind"),
        ];
        for ((before, by_store, after), verdict, said) in table {
            let found = judge(skew_seconds(before, by_store, after));
            assert_eq!(found.verdict, verdict, "{found:?}");
            assert!(found.says.contains(said), "{said}: {found:?}");
        }
    }
}
