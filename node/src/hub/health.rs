//! Which parts of this node died lately and are being started again. A part that lives on for a while is well
//! again. Who starts them is `run::ward`.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Parts that are not well, each with why.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<&'static str, String>>);

impl Health {
    /// A part died.
    pub fn ails(&self, part: &'static str, why: String) {
        self.0.lock().insert(part, why);
    }

    /// A part has lived on for a while.
    pub fn recovers(&self, part: &'static str) {
        self.0.lock().remove(part);
    }

    /// Why a part is not well, if it is not.
    #[must_use]
    pub fn of(&self, part: &str) -> Option<String> {
        self.0.lock().get(part).cloned()
    }

    /// The first part that is not well, in words.
    #[must_use]
    pub fn ailing(&self) -> Option<String> {
        self.0.lock().iter().next().map(|(part, why)| format!("its {part} {why}"))
    }
}
