//! The faults: what each does, for how long, and what it takes back when it ends.

use super::Trial;
use super::disk::End;
use super::host::Host;
use super::plan::FaultPlan;
use super::seat::Told;
use super::wire::Way;
use relais_dispatcher::journal::Journal;
use relais_protocol::ids::{Index, NodeId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    KillDispatcher,
    KillNode,
    CutPowerOfDispatcher,
    CutPowerOfNode,
    CutPowerOfAll,
    CutDispatcher,
    CutNode,
    Split,
    OneWay,
    Bridge,
    Loss,
    Delay,
    Twice,
    Reorder,
    SlowDiskOfDispatcher,
    SlowDisk,
    Damage,
    DamageInAGap,
    ReplaceVoter,
    Handover,
}

use Kind::*;

impl Kind {
    pub(super) const ALL: [Self; 20] = [
        KillDispatcher,
        KillNode,
        CutPowerOfDispatcher,
        CutPowerOfNode,
        CutPowerOfAll,
        CutDispatcher,
        CutNode,
        Split,
        OneWay,
        Bridge,
        Loss,
        Delay,
        Twice,
        Reorder,
        SlowDiskOfDispatcher,
        SlowDisk,
        Damage,
        DamageInAGap,
        ReplaceVoter,
        Handover,
    ];

    /// As reports write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            KillDispatcher => "kill-dispatcher",
            KillNode => "kill-node",
            CutPowerOfDispatcher => "power-cut-dispatcher",
            CutPowerOfNode => "power-cut-node",
            CutPowerOfAll => "power-cut-all",
            CutDispatcher => "cut-dispatcher",
            CutNode => "cut-node",
            Split => "split",
            OneWay => "one-way",
            Bridge => "bridge",
            Loss => "loss",
            Delay => "delay",
            Twice => "twice",
            Reorder => "reorder",
            SlowDiskOfDispatcher => "slow-disk-dispatcher",
            SlowDisk => "slow-disk",
            Damage => "damage",
            DamageInAGap => "damage-in-a-gap",
            ReplaceVoter => "replace-voter",
            Handover => "handover",
        }
    }

    /// Shortest and longest time that it lasts.
    pub(super) fn lasts_ms(self) -> (u64, u64) {
        match self {
            KillDispatcher | KillNode | CutPowerOfDispatcher | CutPowerOfNode | CutPowerOfAll => (20, 1_500),
            Damage => (10, 500),
            DamageInAGap => (900, 1_800),
            Handover => (1, 1),
            ReplaceVoter => (1, 2_000),
            _ => (100, 3_000),
        }
    }
}

/// Lets one fault happen, from its beginning to its end.
pub(super) async fn strike(trial: Arc<Trial>, mut plan: FaultPlan) {
    sleep(Duration::from_millis(plan.at)).await;
    let dispatcher = trial.dispatcher().unwrap_or(plan.node);
    let node = plan.node;
    let name = plan.kind.name();
    trial.watch.say(node, || format!("FAULT {name} for {} ms, dispatcher {dispatcher}", plan.lasts));
    let has_struck = match plan.kind {
        KillDispatcher => end(&trial, &mut plan, dispatcher, End::Killed).await,
        KillNode => end(&trial, &mut plan.clone(), plan.node, End::Killed).await,
        CutPowerOfDispatcher => end(&trial, &mut plan, dispatcher, End::PowerCut).await,
        CutPowerOfNode => end(&trial, &mut plan.clone(), plan.node, End::PowerCut).await,
        CutPowerOfAll => cut_power_of_all(&trial, &plan).await,
        CutDispatcher | CutNode | Split | OneWay | Bridge => cut(&trial, &plan, dispatcher).await,
        Loss | Delay | Twice | Reorder => disturb(&trial, &plan).await,
        SlowDiskOfDispatcher => slow_down(&trial, &plan, dispatcher).await,
        SlowDisk => slow_down(&trial, &plan, plan.node).await,
        Damage => damage(&trial, &mut plan).await,
        DamageInAGap => damage_in_a_gap(&trial, &mut plan, dispatcher).await,
        ReplaceVoter => replace_voter(&trial, &plan, dispatcher).await,
        Handover => hand_over(&trial, dispatcher),
    };
    trial.watch.say(node, || format!("fault {name} is over: {has_struck}"));
    if has_struck {
        trial.watch.count(|counts| *counts.faults.entry(name).or_default() += 1);
    }
}

async fn pause(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}

/// Ends the process of a host, and starts it again later.
async fn end(trial: &Arc<Trial>, plan: &mut FaultPlan, node: NodeId, end: End) -> bool {
    let host = trial.host(node);
    let Ok(_hands) = host.hands.try_lock() else { return false };
    if end == End::PowerCut {
        let (after, moments) = (plan.dice.range(5, 200), plan.dice.range(0, 9));
        host.cut_power(trial, Duration::from_millis(after), moments).await;
    } else {
        host.end(trial, end).await;
    }
    pause(plan.lasts).await;
    host.boot(trial).await;
    true
}

async fn cut_power_of_all(trial: &Arc<Trial>, plan: &FaultPlan) -> bool {
    let tasks = trial.hosts.iter().map(|host| {
        let (trial, node, mut plan) = (trial.clone(), host.node, plan.clone());
        for _ in 0..node.0 {
            plan.dice = plan.dice.part();
        }
        tokio::spawn(async move { end(&trial, &mut plan, node, End::PowerCut).await })
    });
    let mut any = false;
    for task in tasks.collect::<Vec<_>>() {
        any |= task.await.unwrap_or(false);
    }
    any
}

fn pairs(trial: &Trial) -> Vec<(NodeId, NodeId)> {
    let all: Vec<NodeId> = trial.hosts.iter().map(|host| host.node).collect();
    all.iter().flat_map(|a| all.iter().map(|b| (*a, *b))).filter(|(a, b)| a != b).collect()
}

async fn cut(trial: &Trial, plan: &FaultPlan, dispatcher: NodeId) -> bool {
    let (hosts, strength) = (trial.plan.hosts, plan.strength as u32);
    let far = |id: NodeId| (id.0 + strength) % hosts < hosts / 2;
    let bridge = NodeId(strength % hosts + 1);
    let mut cut = pairs(trial);
    cut.retain(|(from, to)| match plan.kind {
        CutDispatcher => *from == dispatcher || *to == dispatcher,
        CutNode => *from == plan.node || *to == plan.node,
        Split => far(*from) != far(*to),
        Bridge => *from != bridge && *to != bridge && far(*from) != far(*to),
        // From one host to all, from all to one, or from one to one.
        _ if strength.is_multiple_of(3) => *from == plan.node,
        _ if strength % 3 == 1 => *to == dispatcher,
        _ => *from == plan.node && to.0 == plan.node.0 % hosts + 1,
    });
    with_ways(trial, &cut, |way| way.cuts += 1);
    pause(plan.lasts).await;
    with_ways(trial, &cut, |way| way.cuts -= 1);
    true
}

fn with_ways(trial: &Trial, ways: &[(NodeId, NodeId)], change: impl Fn(&mut Way)) {
    for (from, to) in ways {
        trial.wire.change(*from, *to, &change);
    }
}

async fn disturb(trial: &Trial, plan: &FaultPlan) -> bool {
    let (all, strength) = (pairs(trial), plan.strength);
    with_ways(trial, &all, |way| match plan.kind {
        Loss => way.loss = strength / 3,
        Delay => way.delay = (strength / 2, strength / 2 + 20),
        Twice => way.twice = strength,
        _ => way.delay = (0, strength),
    });
    pause(plan.lasts).await;
    with_ways(trial, &all, |way| (way.loss, way.delay, way.twice) = (0, (0, 2), 0));
    true
}

async fn slow_down(trial: &Trial, plan: &FaultPlan, node: NodeId) -> bool {
    let Some(life) = trial.host(node).life() else { return false };
    life.disk.set_pace((plan.strength * 100, plan.strength * 2_000));
    pause(plan.lasts).await;
    life.disk.set_pace((50, 1_500));
    true
}

/// Whether every journal that counts is one that its host still has, so that one of them can be lost.
fn can_lose_one(trial: &Trial) -> bool {
    let Some(life) = trial.dispatcher().and_then(|node| trial.host(node).life()) else { return false };
    let status = life.journal.status().borrow().clone();
    let is_settled = status.committed == status.last_log.map(|last| Index(last.index)) && !status.is_joint;
    is_settled && life.leads() && status.voters.iter().all(|id| trial.host(id.node()).raft_id() == *id)
}

async fn damage(trial: &Arc<Trial>, plan: &mut FaultPlan) -> bool {
    let host = trial.host(plan.node);
    let (Ok(_hands), Ok(_damage)) = (host.hands.try_lock(), trial.damage.try_lock()) else { return false };
    if !can_lose_one(trial) || host.life().is_none() {
        return false;
    }
    host.end(trial, End::Killed).await;
    spoil(trial, host, plan, false);
    pause(plan.lasts).await;
    host.boot(trial).await;
    true
}

fn spoil(trial: &Trial, host: &Host, plan: &mut FaultPlan, heavily: bool) {
    if let Err(error) = host.damage(&mut plan.dice, heavily) {
        trial.watch.broken("the-trial-itself", format!("{} cannot be damaged: {error}", host.node));
    }
}

/// What made a journal's number necessary: one voter lags, another loses its journal and comes back empty,
/// and the dispatcher dies: the two that are left must not lead.
async fn damage_in_a_gap(trial: &Arc<Trial>, plan: &mut FaultPlan, dispatcher: NodeId) -> bool {
    let voters = trial.voters.lock().clone();
    let mut others = voters.into_iter().filter(|node| *node != dispatcher);
    let (Some(loses), Some(lags)) = (others.next(), others.next()) else { return false };
    let (loser, reigns) = (trial.host(loses), trial.host(dispatcher));
    let hands = (loser.hands.try_lock(), reigns.hands.try_lock(), trial.damage.try_lock());
    let (Ok(_loser), Ok(_reigns), Ok(_damage)) = hands else { return false };
    if !can_lose_one(trial) || loser.life().is_none() {
        return false;
    }
    let mut cut = pairs(trial);
    cut.retain(|(from, to)| *from == lags || *to == lags);
    with_ways(trial, &cut, |way| way.cuts += 1);
    pause(plan.lasts / 3).await;
    loser.end(trial, End::Killed).await;
    spoil(trial, loser, plan, true);
    reigns.end(trial, End::Killed).await;
    with_ways(trial, &cut, |way| way.cuts -= 1);
    loser.boot(trial).await;
    pause(plan.lasts * 2 / 3).await;
    reigns.boot(trial).await;
    true
}

/// A voter gives its seat to a host that has none, or to nobody for a while.
async fn replace_voter(trial: &Trial, plan: &FaultPlan, dispatcher: NodeId) -> bool {
    let goes = {
        let mut voters = trial.voters.lock();
        let heir = trial.hosts.iter().map(|host| host.node).find(|node| !voters.contains(node));
        let goes = voters.iter().copied().rfind(|node| *node != dispatcher);
        let Some(goes) = goes.filter(|_| heir.is_some() || voters.len() > 3) else { return false };
        voters.remove(&goes);
        voters.extend(heir);
        goes
    };
    pause(plan.lasts).await;
    if trial.voters.lock().len().is_multiple_of(2) {
        trial.voters.lock().insert(goes);
    }
    true
}

fn hand_over(trial: &Trial, dispatcher: NodeId) -> bool {
    let life = trial.host(dispatcher).life().filter(|life| life.dispatches());
    life.inspect(|life| life.tell(Told::HandOver)).is_some()
}
