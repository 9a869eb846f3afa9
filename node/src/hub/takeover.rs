//! The takeover at work: the rule is fed ten times a second, and what it wishes is done: the tie-break is
//! asked, the fence is run, the journal is forked. When is decided by [`Rule`]; that a reign then begins, by
//! the election.

use super::Hub;
use relais_dispatcher::election::Cause;
use relais_dispatcher::journal::Fork;
use relais_dispatcher::takeover::{Effect, JournalSight, Rule, TakeoverConfig, Terms};
use relais_protocol::ids::{Generation, NodeId};
use relais_protocol::settings::Takeover;
use relais_protocol::time::Mono;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// How often the rule is fed.
const EVERY: Duration = Duration::from_millis(100);
/// How long the tie-break may take to accept a connection.
const TIEBREAK_LIMIT: Duration = Duration::from_secs(2);
/// How long the fence may take.
const FENCE_LIMIT: Duration = Duration::from_secs(30);

/// What came of a wish of the rule.
enum Came {
    Checked(Result<(), String>),
    Failed(String),
}

impl Hub {
    /// Watches the peer of a pair until the node is gone, and goes on alone when the rule says so.
    pub async fn watch_peer(self: Arc<Self>) {
        let mut rule = Rule::new(TakeoverConfig::default(), self.me.node, self.clock.mono());
        let mut fed = Mono(0);
        let (tell, mut told) = unbounded_channel();
        loop {
            let came = tokio::select! {
                came = told.recv() => came,
                () = self.rest(EVERY) => None,
            };
            let now = self.clock.mono();
            self.feed(&mut rule, now, &mut fed);
            let wish = match came {
                Some(Came::Checked(answer)) => rule.checked(now, answer),
                Some(Came::Failed(why)) => {
                    rule.failed(now, why);
                    None
                }
                None => rule.tick(now),
            };
            if let Some(wish) = wish {
                self.engine.spawn(self.clone().carry_out(wish, tell.clone()));
            }
            self.say_why_not(&rule, now);
        }
    }

    fn feed(&self, rule: &mut Rule, now: Mono, fed: &mut Mono) {
        let Some(journal) = self.journal() else { return };
        let status = journal.status().borrow().clone();
        let (terms, has_witness) = {
            let ledger = self.machine.read();
            let settings = ledger.settings();
            let terms = Terms { takeover: settings.takeover.clone(), after_ms: settings.takeover_after_ms };
            let witness = |node: NodeId| ledger.node(node).is_some_and(|row| row.facts.witness);
            (terms, status.voters.iter().any(|raft| witness(raft.node())))
        };
        rule.terms(terms);
        let sight = JournalSight {
            voters: status.voters.iter().map(|raft| raft.node()).collect(),
            is_joint: status.is_joint,
            leads: self.pulse.view().leads,
            generation: status.history.unwrap_or_default(),
            has_witness,
        };
        rule.journal(now, sight);
        rule.stopping(self.unseating.load(Ordering::Acquire));
        let mut latest = *fed;
        for (at, beat) in self.pulse.beats().into_values().filter(|(at, _)| *at > *fed) {
            rule.beat(at, &beat);
            latest = latest.max(at);
        }
        *fed = latest;
    }

    fn say_why_not(&self, rule: &Rule, now: Mono) {
        let dispatched = self.pulse.view().dispatcher.is_some();
        let wait = rule.waits(now).filter(|_| !dispatched);
        let told = wait.map(|wait| {
            let peer = self.name_of(wait.peer()).unwrap_or_else(|| wait.peer().to_string());
            wait.told(&peer).to_string()
        });
        if self.history.set_waits(told.clone())
            && let Some(told) = told
        {
            tracing::warn!(why = told, "no dispatcher");
        }
    }

    async fn carry_out(self: Arc<Self>, wish: Effect, tell: UnboundedSender<Came>) {
        let came = match wish {
            Effect::Check(peer, Takeover::TieBreak(address)) => {
                tracing::warn!(%peer, address, "asks the tie-break");
                Came::Checked(tie_break(&address).await)
            }
            Effect::Check(peer, Takeover::Fence(command)) => {
                tracing::warn!(%peer, command, "runs the fence");
                Came::Checked(fence(&command, &self.name_of(peer).unwrap_or_default()).await)
            }
            Effect::Check(..) => Came::Checked(Ok(())),
            Effect::TakeOver { peer, generation, silent_since } => {
                tracing::warn!(%peer, %generation, "takes over: acknowledged jobs are on one disk from here on");
                match self.fork_journal(generation, Cause::Takeover, silent_since).await {
                    Ok(()) => return,
                    Err(why) => Came::Failed(why),
                }
            }
        };
        // The rule's loop ends only with the process.
        let _ = tell.send(came);
    }

    /// Makes the journal here a history of this node alone, and has its first reign begin.
    ///
    /// # Errors
    /// When the journal refuses; nothing has changed then.
    pub(super) async fn fork_journal(
        &self,
        generation: Generation,
        cause: Cause,
        suspected_at: Mono,
    ) -> Result<(), String> {
        let _turn = self.journal_turn.lock().await;
        let journal = self.journal().ok_or("the journal has not started")?;
        let number = self.next_journal().await?;
        let held = self.history.hold();
        let mark = journal.fork(Fork { generation, journal: number }).await.map_err(|error| error.to_string())?;
        self.note_journal().await?;
        self.pulse.forked(cause, suspected_at);
        drop(held);
        tracing::warn!(generation = %mark.generation, from = %mark.index, journal = %mark.new, "the journal is a history of its own");
        Ok(())
    }
}

/// Whether the address accepts a connection.
async fn tie_break(address: &str) -> Result<(), String> {
    match timeout(TIEBREAK_LIMIT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("the tie-break {address} can't be reached ({error})")),
        Err(_) => {
            Err(format!("the tie-break {address} did not accept a connection within {} s", TIEBREAK_LIMIT.as_secs()))
        }
    }
}

/// Whether the command, run by the shell, ends with 0. It finds the peer's name in `RELAIS_PEER`.
async fn fence(line: &str, peer: &str) -> Result<(), String> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).env("RELAIS_PEER", peer).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match timeout(FENCE_LIMIT, command.status()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("the fence `{line}` ended with {status}")),
        Ok(Err(error)) => Err(format!("the fence `{line}` can't be run ({error})")),
        Err(_) => Err(format!("the fence `{line}` did not end within {} s and was killed", FENCE_LIMIT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fence_counts_by_how_it_ends() {
        assert_eq!(fence("test \"$RELAIS_PEER\" = n2", "n2").await, Ok(()));
        assert!(fence("exit 3", "n2").await.is_err_and(|why| why.contains("exit 3") && why.contains('3')));
    }

    #[tokio::test]
    async fn a_tie_break_counts_when_it_accepts() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(tie_break(&address).await, Ok(()));
        drop(listener);
        assert!(tie_break(&address).await.is_err_and(|why| why.contains(&address)));
    }
}
