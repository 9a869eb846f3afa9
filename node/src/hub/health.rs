//! Which parts of this node died lately and are being started again, and how often each was. A part that lives on
//! for a while is well again. Who starts them is `run::ward`.

use parking_lot::Mutex;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
struct Part {
    /// Why it is not well, if it is not.
    ails: Option<String>,
    restarts: u64,
}

/// Parts that died in this run of the process.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<&'static str, Part>>);

impl Health {
    /// A part died, and is started again.
    pub fn ails(&self, part: &'static str, why: String) {
        let mut parts = self.0.lock();
        let part = parts.entry(part).or_default();
        part.ails = Some(why);
        part.restarts += 1;
    }

    /// A part has lived on for a while.
    pub fn recovers(&self, part: &'static str) {
        if let Some(part) = self.0.lock().get_mut(part) {
            part.ails = None;
        }
    }

    /// Why a part is not well, if it is not.
    #[must_use]
    pub fn of(&self, part: &str) -> Option<String> {
        self.0.lock().get(part)?.ails.clone()
    }

    /// How often a part was started again.
    #[must_use]
    pub fn restarts(&self, part: &str) -> u64 {
        self.0.lock().get(part).map_or(0, |part| part.restarts)
    }

    /// The first part that is not well, in words.
    #[must_use]
    pub fn ailing(&self) -> Option<String> {
        self.0.lock().iter().find_map(|(name, part)| part.ails.as_ref().map(|why| format!("its {name} {why}")))
    }
}
