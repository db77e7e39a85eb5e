use feedmill_store_api::SessionToken;

use crate::directory::ContainerEntry;
use crate::fault::{Fault, sub_status};
use crate::headers::{PARTITION_KEY, RANGE_ID, SESSION_TOKEN};
use crate::reply::Reply;
use crate::router::Call;
use crate::{partition_key, ranges};

/// What a request for items sees at least: the newest commit of each partition it may be about, as it was before the request was
/// carried out. Fails where the client has seen more than that.
pub(crate) fn begin(call: &Call<'_>, entry: &ContainerEntry) -> Result<SessionToken, Fault> {
    let session = current(call, entry)?;
    if let Some(seen) = call.asked.text(SESSION_TOKEN)
        && let Some(ahead) = ahead(seen, &session)
    {
        let text = format!("the client has seen {ahead}, and this server has {}", session.0);
        return Err(Fault::not_found(text).sub(sub_status::READ_SESSION_NOT_AVAILABLE));
    }
    Ok(session)
}

fn current(call: &Call<'_>, entry: &ContainerEntry) -> Result<SessionToken, Fault> {
    let (store, name) = (&call.directory.store, entry.container.name());
    if let Some(key) = partition_key::asked(call.asked)?
        && key.parts().len() == entry.container.partition_key_paths().len()
        && call.asked.text(PARTITION_KEY).is_some_and(|text| text.trim() != "[]")
    {
        return Ok(store.session(&entry.database, name, &key)?);
    }
    let asked_id = call.asked.text(RANGE_ID).map(ranges::own_id);
    let partitions = store.partitions(&entry.database, name)?.into_iter().filter_map(|partition| {
        let id = partition.id.to_string();
        asked_id.is_none_or(|asked| asked == id).then(|| format!("{id}:-1#{}", partition.head_lsn))
    });
    Ok(SessionToken(partitions.collect::<Vec<_>>().join(",")))
}

/// The part of what somebody has seen that is newer than `session`. Of partitions that are not in it nothing is known: they are
/// others than the request is about, or have been split or merged, and then what was seen there is in what followed them.
fn ahead<'s>(seen: &'s str, SessionToken(session): &SessionToken) -> Option<&'s str> {
    seen.split(',').find(|part| {
        let Some((id, lsn)) = partition(part) else { return false };
        session.split(',').filter_map(partition).any(|(own, head)| own == id && head < lsn)
    })
}

/// Of `{range}:{version}#{lsn}#…` or `{range}:{lsn}`.
fn partition(part: &str) -> Option<(&str, u64)> {
    let (id, vector) = part.trim().split_once(':')?;
    let lsn = vector.split('#').nth(1).unwrap_or(vector);
    Some((id, lsn.parse().ok()?))
}

/// The reply with the session it is part of, also where it says that something is not there or not as wanted.
pub(crate) fn finish(reply: Result<Reply, Fault>, session: &SessionToken) -> Result<Reply, Fault> {
    match reply {
        Ok(reply) => Ok(reply.session_if_none(session)),
        Err(fault) if matches!(fault.status.as_u16(), 404 | 409 | 412) && fault.sub_status == 0 => {
            Ok(Reply::from(fault).session_if_none(session))
        }
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newer_view_of_the_same_partition_is_ahead() {
        let session = SessionToken("1:-1#10,2:-1#20".to_owned());
        for (seen, expected) in [
            ("1:-1#10", None),
            ("1:-1#11", Some("1:-1#11")),
            ("2:20,1:12", Some("1:12")),
            ("2:-1#21#5=3", Some("2:-1#21#5=3")),
            ("0:-1#99", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(ahead(seen, &session), expected, "{seen}");
        }
    }
}
