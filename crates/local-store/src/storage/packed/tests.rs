use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<u8>, usize),
    Remove(Vec<u8>),
    Range(Vec<u8>, Vec<u8>),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    // Few distinct bytes and shared beginnings, so that prefixes, splits and replacements all happen.
    (prop::collection::vec(0_u8..3, 0..3), 0_u16..400)
        .prop_map(|(prefix, number)| [prefix.as_slice(), b"common/", &number.to_be_bytes()].concat())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value_bytes = prop_oneof![8 => 0_usize..60, 2 => 60_usize..900, 1 => 3_000_usize..9_000];
    let step = prop_oneof![
        6 => (key(), value_bytes).prop_map(|(key, bytes)| Step::Insert(key, bytes)),
        4 => key().prop_map(Step::Remove),
        1 => (key(), key()).prop_map(|(from, to)| Step::Range(from, to)),
    ];
    prop::collection::vec(step, 1..600)
}

fn collect(map: &PackedMap, from: &[u8], to: &[u8], direction: Direction) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut cursor = map.cursor(from, to, direction);
    let mut entries = Vec::new();
    while cursor.advance() {
        entries.push((cursor.key().to_vec(), cursor.value().to_vec()));
    }
    entries
}

fn check_range(map: &PackedMap, model: &BTreeMap<Vec<u8>, Vec<u8>>, from: &[u8], to: &[u8]) {
    let mut expected: Vec<_> = model
        .iter()
        .filter(|(key, _)| from <= key.as_slice() && key.as_slice() < to)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    assert_eq!(collect(map, from, to, Direction::Forward), expected);
    expected.reverse();
    assert_eq!(collect(map, from, to, Direction::Backward), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn it_is_an_ordered_map(steps in steps()) {
        let (mut map, mut model) = (PackedMap::new(2_048), BTreeMap::new());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(key, bytes) => {
                    let value = vec![number as u8; bytes];
                    map.insert(&key, &value);
                    model.insert(key, value);
                }
                Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key).is_some()),
                Step::Range(from, to) => check_range(&map, &model, &from, &to),
            }
        }
        for (key, value) in &model {
            prop_assert_eq!(map.get(key), Some(value.as_slice()));
        }
        check_range(&map, &model, &[], &[0xFF]);
        prop_assert_eq!(map.len(), model.len());
        let bytes = model.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        prop_assert_eq!(map.bytes(), bytes);
    }
}

#[test]
fn entries_cost_little_more_than_their_bytes() {
    let mut map = PackedMap::new(2_048);
    // Keys as of documents: a hash, then an id that begins alike for all of one key. Every seventh comes later.
    for number in (0..60_000_u64).filter(|number| number % 7 != 0).chain((0..60_000).step_by(7)) {
        let hash = (number / 200).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        map.insert(&[&hash, &hash, format!("person-{}:post-{number:06}", number / 200).as_bytes()].concat(), &[7; 10]);
    }
    let allocated: usize = map
        .leaves
        .iter()
        .map(|(fence, leaf)| 96 + fence.bytes.len() + leaf.packed.capacity() + 2 * leaf.starts.capacity())
        .sum();
    assert!(allocated < map.bytes(), "{} bytes for {} of keys and values", allocated, map.bytes());
}
