//! The same seed plays the same world, event by event.

use std::sync::Arc;

use feedmill_simulation::{Run, Scale, Sink};

fn trace(scale: Scale, seed: u64) -> Vec<String> {
    let lines = Arc::default();
    let mut run = Run::new(scale, seed);
    run.trace = Sink::Lines(Arc::clone(&lines));
    run.play().unwrap_or_else(|failure| panic!("seed {seed} of {scale:?}: {failure}"));
    let lines = lines.lock();
    lines.clone()
}

fn check(scale: Scale, seeds: u64) {
    for seed in 0..seeds {
        let (first, second) = (trace(scale, seed), trace(scale, seed));
        let differs = first.iter().zip(&second).position(|(first, second)| first != second);
        if let Some(line) = differs {
            panic!("seed {seed} of {scale:?}, line {line}:\n{}\n{}", first[line], second[line]);
        }
        assert_eq!(first.len(), second.len(), "seed {seed} of {scale:?}");
    }
    assert_ne!(trace(scale, 0), trace(scale, 1), "different seeds play different worlds");
}

#[test]
fn the_same_seed_plays_the_same_tiny_world() {
    check(Scale::Tiny, 200);
}

#[test]
fn the_same_seed_plays_the_same_full_world() {
    check(Scale::Full, 5);
}
