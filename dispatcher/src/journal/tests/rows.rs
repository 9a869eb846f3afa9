//! The stored ledger against a model: reads, scans and streams while checkpoints are made.

use super::super::ledger_writer::{Draft, Job};
use super::super::types::Membership;
use super::super::*;
use super::super::{packed, types};
use super::damage::Dice;
use crate::rows::Changes;
use openraft::CommittedLeaderId;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

struct Bench {
    _dir: tempfile::TempDir,
    store: Store,
    dice: Dice,
    index: u64,
    model: Model,
}

impl Bench {
    async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions::new(dir.path().join("journal"), RaftId(1), Arc::new(|e| panic!("{e}")));
        let Opened::Clean(store) = open(options).await.unwrap() else { panic!("a new store is damaged") };
        Self { _dir: dir, store, dice: Dice(seed), index: 0, model: Model::new() }
    }

    /// Some rows changed at random, in the model and as a draft that reads see from now on.
    fn draft(&mut self, count: u64) -> Draft {
        let mut changes = Changes::new();
        for _ in 0..count {
            let key = self.dice.below(200).to_be_bytes()[6..].to_vec();
            let length = [0, 3, 300, 5_000, 40_000][self.dice.below(5) as usize];
            let row = (length > 0).then(|| vec![self.dice.below(256) as u8; length]);
            changes.insert(key, row);
        }
        for (key, row) in &changes {
            match row {
                Some(row) => drop(self.model.insert(key.clone(), row.clone())),
                None => drop(self.model.remove(key)),
            }
        }
        self.index += 1;
        let applied = Some(types::LogId::new(CommittedLeaderId::new(1, 1), self.index));
        let changes = Arc::new(changes);
        self.store.ledger.inner().overlays.push_back(changes.clone());
        Draft { changes, applied, membership: Membership::default(), is_audit: false }
    }

    async fn checkpoint(&mut self, count: u64) {
        let draft = self.draft(count);
        self.store.ledger_jobs.ask(|done| Job::Checkpoint(draft, done)).await.unwrap();
    }

    fn check_reads(&mut self) {
        let rows: &dyn Rows = &*self.store.ledger;
        for key in 0..200u64 {
            let key = &key.to_be_bytes()[6..];
            assert_eq!(rows.read(key), self.model.get(key).cloned());
        }
        let (a, b) = (self.dice.below(200), self.dice.below(200));
        let (from, to) = (a.min(b).to_be_bytes()[6..].to_vec(), a.max(b).to_be_bytes()[6..].to_vec());
        for (to, reverse) in [(to.clone(), false), (to, true), (Vec::new(), false), (Vec::new(), true)] {
            let in_range = |key: &[u8]| key >= from.as_slice() && (to.is_empty() || key < to.as_slice());
            let mut expected: Vec<_> = self.model.clone().into_iter().filter(|(key, _)| in_range(key)).collect();
            if reverse {
                expected.reverse();
            }
            let mut seen = Vec::new();
            rows.scan(&from, &to, reverse, &mut |key, row| {
                seen.push((key.to_vec(), row.to_vec()));
                true
            });
            assert!(seen == expected, "scan of {from:?}..{to:?}, reverse {reverse}");
        }
    }
}

#[tokio::test]
async fn reads_and_scans_see_what_was_drained() {
    let mut bench = Bench::new(1).await;
    for _ in 0..20 {
        bench.checkpoint(30).await;
        bench.check_reads();
        let (first, second) = (bench.draft(20), bench.draft(20));
        bench.check_reads();
        for draft in [first, second] {
            bench.store.ledger_jobs.ask(|done| Job::Checkpoint(draft, done)).await.unwrap();
            bench.check_reads();
        }
    }
}

#[tokio::test]
async fn a_stream_shows_the_ledger_as_it_was() {
    for seed in 0..5 {
        let mut bench = Bench::new(seed).await;
        bench.checkpoint(400).await;
        let expected = bench.model.clone();
        let transfer = bench.store.ledger.transfer().unwrap();
        let meta = transfer.meta().clone();
        let mut seen = Model::new();
        let mut pages = 0;
        while let Some(page) = transfer.next_page().unwrap() {
            pages += 1;
            assert!(page.len() <= 1 << 20);
            for (key, row) in packed::unpack(&page).unwrap() {
                assert!(seen.insert(key, row.unwrap()).is_none(), "a row came twice");
            }
            bench.checkpoint(60).await;
        }
        assert!(pages > 1);
        assert!(seen == expected, "seed {seed}");
        let mut counted = super::super::checkpoint::LedgerMeta::default();
        seen.iter().for_each(|(key, row)| counted.add(key, row));
        assert_eq!((counted.rows, counted.hash), (meta.rows, meta.hash));
        assert_ne!(bench.store.ledger.meta().hash, meta.hash);
    }
}
