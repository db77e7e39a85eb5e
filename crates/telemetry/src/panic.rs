use std::any::Any;
use std::panic::{PanicHookInfo, set_hook};

use crate::metrics::PANICS;

/// Logs and counts every panic from now on, in place of the default message on stderr.
pub fn log_panics() {
    set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        metrics::counter!(PANICS.name).increment(1);
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(place, thread = thread.name().unwrap_or("unnamed"), message = text(info.payload()), "panic");
    }));
}

fn text(payload: &(dyn Any + Send)) -> &str {
    match payload.downcast_ref::<&str>() {
        Some(text) => text,
        None => payload.downcast_ref::<String>().map_or("a panic without a text", String::as_str),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_says_its_text_whichever_way_it_was_made() {
        let panicked = |work: fn()| std::panic::catch_unwind(work).unwrap_err();
        assert_eq!(text(&*panicked(|| panic!("plain"))), "plain");
        assert_eq!(text(&*panicked(|| panic!("number {}", 7))), "number 7");
        assert_eq!(text(&*panicked(|| std::panic::panic_any(7))), "a panic without a text");
    }
}
