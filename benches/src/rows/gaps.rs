//! W6: for how long nothing is acknowledged, and nothing is done, when the dispatcher is hit under load.

use crate::Failed;
use crate::failover::{Gap, Hit, round};
use crate::figure::{Aim, Figure, quantile};
use crate::load::Load;
use crate::peer::{Peer, PeerLoad};
use crate::run::{Ours, Run, tell};
use crate::work;

const SLOTS: u32 = 64;

/// Each kind of hit, what it is called, and what its median and its worst should be, in milliseconds.
const HITS: [(Hit, &str, f64, Option<f64>); 3] = [
    (Hit::Kill, "kill -9 of the dispatcher", 130.0, Some(500.0)),
    (Hit::Pause, "SIGSTOP of the dispatcher", 500.0, Some(1_000.0)),
    (Hit::Handover, "handover", 50.0, None),
];

/// W6.
pub(super) fn when_hit(run: &mut Run) -> Result<(), Failed> {
    let theirs = peers(run);
    let mut ours = Ours::start(run, SLOTS)?;
    let load = Load::start(&ours.cluster);
    for (place, (hit, what, median, worst)) in HITS.into_iter().enumerate() {
        let mut gaps = Vec::new();
        for number in 1..=run.scale.hits {
            let gap = round(&mut ours.cluster, &load, hit)?;
            tell(&format!("W6, {what}, round {number}: {:.0} and {:.0} ms", gap.acknowledged, gap.done));
            gaps.push(gap);
        }
        let theirs = theirs.get(place).map_or(&[][..], Vec::as_slice);
        note(run, &format!("{what}, next acknowledgement"), (&gaps, theirs), |gap| gap.acknowledged, (median, worst));
        note(run, &format!("{what}, next completion"), (&gaps, theirs), |gap| gap.done, (median, worst));
    }
    load.finish(&ours.record)?;
    work::await_done(&ours.cluster.nodes[0], &ours.record)?;
    ours.finish_after_faults(run)
}

fn note(
    run: &mut Run,
    what: &str,
    (ours, theirs): (&[Gap], &[Gap]),
    of: impl Fn(&Gap) -> f64,
    (median, worst): (f64, Option<f64>),
) {
    let name = run.peer.as_ref().map(Peer::name).unwrap_or_default();
    let (ours, theirs): (Vec<f64>, Vec<f64>) = (ours.iter().map(&of).collect(), theirs.iter().map(&of).collect());
    let worst_of = |gaps: &[f64]| if gaps.is_empty() { Vec::new() } else { vec![quantile(gaps, 1.0)] };
    let worsts = (worst_of(&ours), worst_of(&theirs));
    run.found(Figure::new("W6", format!("{what}, p50, ms"), ours).beside(&name, theirs).aim(Aim::AtMost(median)));
    let mut figure = Figure::new("W6", format!("{what}, worst, ms"), worsts.0).beside(&name, worsts.1);
    figure.aim = worst.map(Aim::AtMost);
    run.found(figure);
}

/// The peer's gaps for each kind of hit, as far as it came: what fails there does not spoil ours.
fn peers(run: &Run) -> Vec<Vec<Gap>> {
    let mut all = Vec::new();
    let measured = (|| {
        let Some(servers) = run.servers()? else { return Ok(()) };
        let mut load = PeerLoad::start(servers)?;
        for (hit, what, ..) in HITS {
            let mut gaps = Vec::new();
            for number in 1..=run.scale.peer_hits {
                let gap = load.round(hit)?;
                tell(&format!("W6, the peer, {what}, round {number}: {:.0} and {:.0} ms", gap.acknowledged, gap.done));
                gaps.push(gap);
            }
            all.push(gaps);
        }
        Ok::<(), Failed>(())
    })();
    if let Err(failed) = measured {
        println!("SKIPPED: the rest of W6 for the peer: {failed}");
    }
    all
}
