//! Messages that arrive late: held back on their way by the relay, while the role moves, and let go while the
//! QUIC connection that they belong to still lives (its idle time-out is 1.5 s).

use super::Cluster;
use super::wait::look_for;
use crate::relay::Rule;
use serde_json::json;
use std::time::Duration;

/// A held connection must be let go before it is given up.
const HELD_MAX: Duration = Duration::from_millis(1_250);
/// Workers report twice a second: after so long there is a report among what is held.
const REPORT_EVERY: Duration = Duration::from_millis(620);
/// How long a refusal may take to be counted.
const COUNTED: Duration = Duration::from_secs(4);

/// Late messages are a race against the connection's idle time-out; so often it may be lost.
const TRIES: usize = 6;

/// What came of a late message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The scene did not come about: the role did not move as it should have in the time there was.
    NoScene,
    /// It was made to arrive late, and nobody counted a refusal.
    NotRefused,
    /// It was refused and counted: so often where it arrived, so often where it came from.
    Refused(u64, u64),
}

impl Cluster {
    /// An order of the dispatcher to another node is held back, a third node becomes the dispatcher, the
    /// order arrives.
    ///
    /// # Panics
    /// When the cluster is not well to begin with, or has no relay.
    pub fn late_order(&self) -> Late {
        let whole = self.await_whole();
        let relay = self.relay.as_ref().expect("a relay");
        let (old, epoch) = (whole.dispatcher.expect("a whole cluster has one"), whole.epoch);
        let others = self.others(old);
        let (target, other) = (others[0], others[1]);
        let figures = || {
            let arrived = self.nodes[target].figure("relais_stale_orders_total")?;
            Some((arrived, self.nodes[old].figure("relais_orders_refused_total")?))
        };
        let Some(before) = figures() else { return Late::NoScene };
        relay.set((old, target), Rule::hold());
        // More than fit on two nodes: orders to the third are among what is held.
        for _ in 0..3 {
            let _ = self.nodes[old].submit(&json!({"kind": "noop", "payload": {"sleep": "3s"}}));
        }
        // The other voter hears nothing more either, and the two of them elect.
        relay.set((old, other), Rule::cut());
        let moved = look_for(HELD_MAX, || {
            self.sight(target).filter(|sight| sight.epoch > epoch && sight.dispatcher.is_some_and(|node| node != old))
        });
        let held = relay.release((old, target));
        relay.set((old, other), Rule::pass());
        if moved.is_none() {
            return Late::NoScene;
        }
        let counted = look_for(COUNTED, || figures().filter(|(arrived, told)| *arrived > before.0 && *told > before.1));
        println!("  a late order: {held} packets were held, figures {before:?} became {counted:?}");
        counted.map_or(Late::NotRefused, |(arrived, told)| Late::Refused(arrived - before.0, told - before.1))
    }

    /// Tries until a late message was refused, or [`TRIES`] times: what came of each try.
    pub fn until_refused(&self, late: fn(&Self) -> Late) -> Vec<Late> {
        let mut tries = Vec::new();
        while tries.len() < TRIES && !matches!(tries.last(), Some(Late::Refused(..))) {
            tries.push(late(self));
        }
        tries
    }

    /// A worker's reports to the dispatcher are held back, the role goes to a third node and back, the
    /// reports arrive.
    ///
    /// # Panics
    /// When the cluster is not well to begin with, or has no relay.
    pub fn late_report(&self) -> Late {
        let whole = self.await_whole();
        let relay = self.relay.as_ref().expect("a relay");
        let (old, epoch) = (whole.dispatcher.expect("a whole cluster has one"), whole.epoch);
        let others = self.others(old);
        let (worker, other) = (others[0], others[1]);
        let figure = || self.nodes[old].figure("relais_stale_reports_total");
        let Some(before) = figure() else { return Late::NoScene };
        relay.set((worker, old), Rule::hold());
        let began = tokio::time::Instant::now();
        let _ = look_for(REPORT_EVERY * 2, || (began.elapsed() > REPORT_EVERY).then_some(()));
        let moved = self.hand_over(old, other) && self.hand_over(other, old);
        let held = relay.release((worker, old));
        if !moved || began.elapsed() > HELD_MAX {
            println!("  no late report: moved {moved}, after {:?}", began.elapsed());
            return Late::NoScene;
        }
        let counted = look_for(COUNTED, || figure().filter(|count| *count > before));
        let now = self.sight(old).map(|sight| sight.epoch);
        println!(
            "  a late report: {held} packets were held, epoch {epoch} became {now:?}, figure {before} became {counted:?}"
        );
        counted.map_or(Late::NotRefused, |count| Late::Refused(count - before, 0))
    }

    fn hand_over(&self, from: usize, to: usize) -> bool {
        let body = json!({"to": self.nodes[to].name}).to_string();
        let answer = self.nodes[from].ask("POST", "/v1/cluster:handover", &body);
        answer.is_some_and(|answer| answer.status == 200)
    }
}
