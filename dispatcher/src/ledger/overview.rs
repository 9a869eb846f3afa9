//! The small tables, for nodes that keep no ledger: taken out here, and put together there into one that has no jobs.

use super::Ledger;
use crate::rows::MemoryRows;
use relais_protocol::ids::Index;
use relais_protocol::overview::Overview;
use std::sync::Arc;

impl Ledger {
    /// The tables that every node needs. Whose journals follow is for the caller to add.
    #[must_use]
    pub fn overview(&self) -> Overview {
        Overview {
            cluster: self.head.cluster,
            reign: self.head.reign,
            dispatcher: self.head.dispatcher,
            nodes: self.nodes.rows().cloned().collect(),
            tokens: self.tokens.values().cloned().collect(),
            settings: self.settings.values().cloned().collect(),
            ..Overview::default()
        }
    }

    /// A ledger of nothing but these tables, as of `applied`. Nothing can be applied to it.
    #[must_use]
    pub fn of_overview(overview: &Overview, applied: Index) -> Self {
        let mut ledger = Self::new(Arc::new(MemoryRows::default()));
        ledger.applied = applied;
        ledger.head.cluster = overview.cluster;
        ledger.head.reign = overview.reign;
        ledger.head.dispatcher = overview.dispatcher;
        for row in &overview.nodes {
            ledger.nodes.insert(row.clone());
        }
        ledger.tokens = overview.tokens.iter().map(|row| (row.token.id, row.clone())).collect();
        ledger.settings = overview.settings.iter().map(|row| (row.key.clone(), row.clone())).collect();
        ledger.type_settings();
        ledger
    }
}
