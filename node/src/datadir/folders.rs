//! Where things lie in a data directory. It touches no file, so whoever only needs a path waits for nobody.

use std::path::{Path, PathBuf};

/// The paths in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders(PathBuf);

impl Folders {
    /// Those of the data directory at `path`.
    #[must_use]
    pub fn of(path: PathBuf) -> Self {
        Self(path)
    }

    /// The data directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of certificates and keys.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.0.join("identity")
    }

    /// The folder of the replicated log.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// The folder of job output.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.0.join("output")
    }

    /// The folder for private folders of running jobs.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// The file of ends that nobody has written down yet.
    #[must_use]
    pub fn unsettled(&self) -> PathBuf {
        self.0.join("unsettled")
    }

    /// All folders in it.
    pub(super) fn all(&self) -> [PathBuf; 4] {
        [self.identity(), self.journal(), self.output(), self.work()]
    }
}
