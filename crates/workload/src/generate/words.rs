//! Names and texts, so that a feed looks like one.

const FIRST: [&str; 25] = [
    "Ada", "Bo", "Chidi", "Dana", "Emre", "Fatima", "Grace", "Hugo", "Ines", "Jun", "Kofi", "Lena", "Mei", "Noor",
    "Otto", "Priya", "Quinn", "Rosa", "Sven", "Tomás", "Uma", "Vera", "Wei", "Yara", "Zoë",
];
const LAST: [&str; 24] = [
    "Adeyemi", "Bauer", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Hansen", "Ito", "Jensen", "Kumar", "Lopez",
    "Mbeki", "Novak", "Okafor", "Park", "Rossi", "Silva", "Tanaka", "Ueda", "Varga", "Weber", "Yilmaz", "Zhang",
];
const OPENINGS: [&str; 7] = [
    "Just finished",
    "Cannot stop thinking about",
    "Who else is into",
    "Photos from",
    "Notes on",
    "A short thread about",
    "Everybody should try",
];
const TOPICS: [&str; 11] = [
    "the night train to Lisbon",
    "sourdough",
    "a marathon in the rain",
    "my grandmother's radio",
    "tide pools",
    "the new library",
    "bread and salt",
    "an old map of the harbour",
    "beekeeping",
    "the last eclipse",
    "hill repeats",
];
const REPLIES: [&str; 9] = [
    "Same here!",
    "Where was this?",
    "I would not have thought so.",
    "Tell us more.",
    "That made my day.",
    "Strong disagree, but well put.",
    "Saving this for later.",
    "How long did it take?",
    "Thank you.",
];

/// First and last name. The lengths of the lists have no common factor, so the pairs repeat late.
pub(super) fn name(index: usize) -> (&'static str, &'static str) {
    (FIRST[index % FIRST.len()], LAST[index % LAST.len()])
}

pub(super) fn sentence(index: usize, is_reply: bool) -> String {
    if is_reply {
        return REPLIES[index % REPLIES.len()].to_owned();
    }
    format!("{} {}", OPENINGS[index % OPENINGS.len()], TOPICS[index % TOPICS.len()])
}
