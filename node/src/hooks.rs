//! Webhooks: the dispatcher's node tells whoever asked that a job has ended.
//!
//! What is to be told stands in the journal with the job, so it outlives the dispatcher; how often it was tried
//! does not, and a new dispatcher begins anew. A message is delivered at least once. It has the same
//! `webhook-id` each time, by which its receiver can tell a repeat: a dispatcher may die after the receiver has
//! answered and before that is in the journal.
//!
//! Nothing waits for a receiver: no job, no submit, no other receiver. A slow or dead host holds
//! [`PER_HOST`] deliveries at most, and each ends after [`ANSWER_LIMIT`].

mod delivery;
mod signature;

pub use signature::SigningKey;

use crate::http::ended_message;
use crate::hub::Hub;
use delivery::{Delivery, Receipt};
use relais_protocol::ids::JobId;
use relais_protocol::job::Job;
use relais_protocol::notice::{NoticeState, Noticed, Webhook};
use relais_protocol::record::Record;
use relais_protocol::time::{Mono, UnixMs};
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often the pending notices are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Deliveries under way at once, in all.
const AT_ONCE: usize = 64;
/// And to one host.
const PER_HOST: usize = 8;
/// How long a receiver may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The wait after the first try that failed; each further one doubles it, up to the longest.
const FIRST_WAIT_MS: u64 = 1_000;
const LONGEST_WAIT_MS: u64 = 600_000;
/// How long after the end of the job it is tried.
const TRIED_FOR_MS: u64 = 24 * 3_600_000;

/// What is known of one notice here: nothing of it is in the journal.
struct Tries {
    life: u16,
    failed: u32,
    next: Mono,
    under_way: bool,
}

/// The deliveries of a node, for as long as it has the role.
struct Courier {
    hub: Arc<Hub>,
    client: Option<reqwest::Client>,
    tries: BTreeMap<JobId, Tries>,
    hosts: BTreeMap<String, usize>,
    under_way: JoinSet<(Receipt, bool)>,
}

/// Delivers what is pending whenever this node has the dispatcher role, for as long as the node lives.
pub async fn deliver(hub: Arc<Hub>) {
    let mut courier =
        Courier { hub, client: None, tries: BTreeMap::new(), hosts: BTreeMap::new(), under_way: JoinSet::new() };
    let resting = courier.hub.clone();
    loop {
        let mut rest = pin!(resting.rest(LOOK_EVERY));
        while let Some((receipt, is_settled)) = next_before(rest.as_mut(), &mut courier.under_way).await {
            courier.take(&receipt, is_settled);
        }
        courier.look();
    }
}

/// What ends next, or `None` once the rest is over: however many end meanwhile, it is the same rest.
async fn next_before<T: 'static>(
    mut rest: Pin<&mut impl Future<Output = ()>>,
    under_way: &mut JoinSet<T>,
) -> Option<T> {
    loop {
        tokio::select! {
            () = rest.as_mut() => return None,
            Some(ended) = under_way.join_next() => {
                if let Ok(ended) = ended {
                    return Some(ended);
                }
            }
        }
    }
}

impl Courier {
    fn look(&mut self) {
        if !self.hub.pulse.view().leads {
            // Whoever has the role now begins anew; what is under way here ends by itself.
            self.tries.retain(|_, tries| tries.under_way);
            return;
        }
        let now = self.hub.clock.mono();
        let mut chosen = Vec::new();
        {
            let ledger = self.hub.machine.read();
            let mut room = AT_ONCE.saturating_sub(self.under_way.len());
            for id in ledger.pending_notices() {
                if room == 0 {
                    break;
                }
                if self.tries.get(&id).is_some_and(|tries| tries.under_way || tries.next > now) {
                    continue;
                }
                let Some(job) = ledger.job(id) else { continue };
                let Some(webhook) = job.spec.options().notify.clone() else { continue };
                let host = delivery::host(&webhook.url);
                let held = self.hosts.entry(host.clone()).or_default();
                if *held >= PER_HOST {
                    continue;
                }
                *held += 1;
                room -= 1;
                let body = ended_message(&job, &ledger, self.hub.durability());
                chosen.push((job, webhook, host, body));
            }
        }
        for (job, webhook, host, body) in chosen {
            self.send(&job, webhook, host, body);
        }
    }

    fn send(&mut self, job: &Job, webhook: Webhook, host: String, body: String) {
        let tries =
            self.tries.entry(job.id).or_insert(Tries { life: job.life, failed: 0, next: Mono(0), under_way: true });
        if tries.life != job.life {
            (tries.life, tries.failed) = (job.life, 0);
        }
        tries.under_way = true;
        let since = job.notice.as_ref().map_or(UnixMs(0), |notice| notice.at);
        let delivery =
            Delivery { job: job.id, life: job.life, since, webhook, host, body, sent_at: self.hub.clock.unix() };
        let (client, hub) = (self.client(), self.hub.clone());
        self.under_way.spawn(async move {
            let receipt = match client {
                Ok(client) => delivery.run(client).await,
                Err(error) => delivery.failed(error.to_string()),
            };
            let is_settled = settle(hub, &receipt).await;
            (receipt, is_settled)
        });
    }

    /// The client, made with the first delivery: a node that has none pays nothing for it.
    fn client(&mut self) -> Result<reqwest::Client, reqwest::Error> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let made = reqwest::Client::builder()
            .timeout(ANSWER_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("relais/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(self.client.insert(made).clone())
    }

    fn take(&mut self, receipt: &Receipt, is_settled: bool) {
        if let Some(held) = self.hosts.get_mut(&receipt.host) {
            *held -= 1;
            if *held == 0 {
                self.hosts.remove(&receipt.host);
            }
        }
        let Some(tries) = self.tries.get_mut(&receipt.job) else { return };
        tries.under_way = false;
        if is_settled {
            self.tries.remove(&receipt.job);
            return;
        }
        let wait = FIRST_WAIT_MS.saturating_mul(1 << tries.failed.min(20)).min(LONGEST_WAIT_MS);
        tries.failed += 1;
        tries.next = self.hub.clock.mono().plus(wait);
    }
}

/// Keeps what came of a try, if no other one is to follow. Where this comes to nothing the notice is still
/// pending, and is delivered again.
async fn settle(hub: Arc<Hub>, receipt: &Receipt) -> bool {
    let state = match &receipt.answer {
        Ok(status) => NoticeState::Delivered { status: *status },
        Err(refused) => {
            let (job, reason) = (receipt.job, &refused.reason);
            let is_over = hub.machine.read().now().since(receipt.since) >= TRIED_FOR_MS;
            if !refused.is_final && !is_over {
                tracing::debug!(%job, reason, "a webhook was not delivered");
                return false;
            }
            tracing::warn!(%job, reason, "a webhook was given up");
            NoticeState::GivenUp { reason: reason.clone() }
        }
    };
    let noticed = Noticed { job: receipt.job, life: receipt.life, state };
    hub.propose_anywhere(vec![Record::Noticed(Box::new(noticed))]).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn deliveries_that_end_one_after_the_other_do_not_put_off_the_next_look() {
        let mut under_way = JoinSet::new();
        for nth in 1..=u32::try_from(AT_ONCE).unwrap() {
            under_way.spawn(async move { tokio::time::sleep(LOOK_EVERY * nth * 4 / 5).await });
        }
        let mut rest = pin!(tokio::time::sleep(LOOK_EVERY));
        let mut ended = 0;
        while next_before(rest.as_mut(), &mut under_way).await.is_some() {
            ended += 1;
        }
        assert!(ended < AT_ONCE, "the rest was over long before the last of them");
        assert!(!under_way.is_empty());
    }
}
