//! Openraft's own storage test suite.

use super::super::log::Log;
use super::super::machine::{Applier, Position};
use super::super::types::{StorageError, Types};
use super::super::*;
use super::fixture::Map;
use openraft::testing::{StoreBuilder, Suite};

struct Builder;

impl StoreBuilder<Types, Log, Applier, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, Log, Applier), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let on_fatal: OnFatal = Arc::new(|reason| panic!("fatal: {reason}"));
        let options = StoreOptions::new(dir.path().join("journal"), RaftId(1), on_fatal);
        let Opened::Clean(store) = open(options).await.unwrap() else { panic!("a new store is damaged") };
        let (at, told) = (Position::loaded(&store.ledger), Arc::new(watch::channel(0).0));
        let (applier, _) = Applier::new(Arc::new(Map::default()), store.ledger, store.ledger_jobs, at, told);
        Ok((dir, store.log, applier))
    }
}

#[test]
fn openrafts_own_suite_passes() {
    Suite::test_all(Builder).unwrap();
}
