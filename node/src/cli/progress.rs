//! The line that shows how a wait goes, on standard error and only where that is a terminal.

use super::failure::one_line;
use super::screen::Screen;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(120);
const BAR: &str = "[{bar:30}] {pos} of {len} {msg} {elapsed}";
const SPINNER: &str = "{spinner} {msg} {elapsed}";

/// One such line; it is taken away when this is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar towards `total`.
    pub(crate) fn towards(screen: Screen, total: u64) -> Self {
        Self::new(screen, Some(total), BAR)
    }

    /// A line for what has no known length.
    pub(crate) fn spinner(screen: Screen) -> Self {
        Self::new(screen, None, SPINNER)
    }

    fn new(screen: Screen, total: Option<u64>, template: &str) -> Self {
        let target = if screen.error_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(total, target);
        // The two templates are constants, tried by a test.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("##."));
        }
        if screen.error_terminal {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    /// How far it is, and what is to be said of it.
    pub(crate) fn at(&self, position: u64, text: &str) {
        self.0.set_position(position);
        self.say(text);
    }

    /// What is to be said.
    pub(crate) fn say(&self, text: &str) {
        self.0.set_message(one_line(text));
    }

    /// Does `work`, which writes lines of its own, while the line is away.
    pub(crate) fn aside(&self, work: impl FnOnce()) {
        self.0.suspend(work);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_good() {
        for template in [BAR, SPINNER] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
