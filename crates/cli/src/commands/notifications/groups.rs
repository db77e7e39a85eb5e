//! Notifications of one kind about one subject, as one.

use feedmill_documents::notification::Kind;
use feedmill_store_api::Result;
use serde::Serialize;

use super::told::{COUNTED_MAX, Told};
use crate::newest::{Cursor, Item};

/// Single notifications looked at in one go.
const ITEMS: usize = 100;

/// What notifications can have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) kind: Kind,
    /// The post reacted or replied to; of those who follow the person themselves.
    pub(super) id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    kind: Kind,
    subject_id: String,
    /// Of the newest one.
    pub(super) created_at: String,
    /// Who did it, each once, the newest first.
    pub(super) actor_ids: Vec<String>,
    /// Whether there are more than were counted.
    pub(super) more: bool,
    pub(super) unread: usize,
}

/// The groups with the newest members, newest first. A group stands where its newest member does, and is complete wherever
/// its other members stand.
///
/// Costs a query for each group and a few more, however many members groups have: those of groups that are known are left
/// out of what is read on.
pub(super) async fn newest(
    told: &Told<'_>,
    before: Option<&Cursor>,
    limit: usize,
) -> Result<(Vec<Group>, Option<Cursor>)> {
    let mut known: Vec<Subject> = Vec::new();
    let mut groups: Vec<(Group, Cursor)> = Vec::new();
    loop {
        let (items, next) = told.but(&known, before, ITEMS).await?;
        for item in &items {
            // What cannot be understood nobody here wrote.
            let Some(subject) = subject(item) else { continue };
            if known.contains(&subject) {
                continue;
            }
            let (members, more) = told.about(&subject).await?;
            known.push(subject.clone());
            // One with a newer member stands on a page before.
            if members.first().is_some_and(|first| first.cursor() == item.cursor()) {
                if groups.len() == limit {
                    let last = groups.last().map(|(_, last)| last.clone());
                    return Ok((groups.into_iter().map(|(group, _)| group).collect(), last));
                }
                groups.push((group(subject, &members, more), item.cursor()));
            }
        }
        if next.is_none() {
            return Ok((groups.into_iter().map(|(group, _)| group).collect(), None));
        }
    }
}

fn subject(item: &Item) -> Option<Subject> {
    let fields = item.fields();
    let field = |name: &str| fields[name].as_str().map(str::to_owned);
    let kind: Kind = field("kind")?.parse().ok()?;
    let id = match kind {
        Kind::Reaction => field("postId"),
        Kind::Reply => field("parentPostId"),
        Kind::Follow => field("recipientId"),
    };
    Some(Subject { kind, id: id? })
}

fn group(Subject { kind, id: subject_id }: Subject, members: &[Item], more: bool) -> Group {
    let created_at = members.first().map(|first| first.created_at.clone()).unwrap_or_default();
    let (mut actor_ids, mut unread) = (Vec::new(), 0);
    for member in members {
        let fields = member.fields();
        unread += usize::from(fields["read"] != true);
        let actor = fields["actorId"].as_str().unwrap_or_default().to_owned();
        if !actor_ids.contains(&actor) {
            actor_ids.push(actor);
        }
    }
    Group { kind, subject_id, created_at, actor_ids, more, unread }
}

impl Group {
    /// For people; `first` is who did it last.
    pub(super) fn says(&self, first: &str) -> String {
        let who = match self.actor_ids.len().saturating_sub(1) {
            _ if self.more => format!("{first} and more than {} others", COUNTED_MAX.min(self.actor_ids.len()) - 1),
            0 => first.to_owned(),
            1 => format!("{first} and 1 other"),
            others => format!("{first} and {others} others"),
        };
        let subject = &self.subject_id;
        match self.kind {
            Kind::Reaction => format!("{who} reacted to your post {subject}"),
            Kind::Reply => format!("{who} replied to your post {subject}"),
            Kind::Follow if self.actor_ids.len() == 1 => format!("{who} follows you"),
            Kind::Follow => format!("{who} follow you"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_says_who_did_it_last_and_how_many_others() {
        let says = |kind, others: usize, more| {
            let actor_ids = (0..=others).map(|number| number.to_string()).collect();
            let group = Group { kind, subject_id: "7".into(), created_at: String::new(), actor_ids, more, unread: 0 };
            group.says("Ada (0)")
        };
        assert_eq!(says(Kind::Reaction, 3, false), "Ada (0) and 3 others reacted to your post 7");
        assert_eq!(says(Kind::Reply, 1, false), "Ada (0) and 1 other replied to your post 7");
        assert_eq!(says(Kind::Follow, 0, false), "Ada (0) follows you");
        assert_eq!(says(Kind::Follow, 2, false), "Ada (0) and 2 others follow you");
        assert_eq!(says(Kind::Reaction, 99, true), "Ada (0) and more than 99 others reacted to your post 7");
    }
}
