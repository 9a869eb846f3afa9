//! Schedules on real processes: each slot once over failovers, what was missed, what must not overlap, and all
//! of it remembered when the dispatcher dies.
//!
//! `RELAIS_SCHEDULE_SECONDS=120` is the long run of the first test; it takes a minute else.

use relais_tests::cluster::schedule::{body, seconds_amiss};
use relais_tests::cluster::wait::{stays, until};
use relais_tests::cluster::{Cluster, Options, Turn};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const EVERY_SECOND: &str = "* * * * * *";
const FAILOVERS: u32 = 3;
/// What a fired slot may take to be seen.
const SEEN: Duration = Duration::from_secs(20);

fn seconds() -> u64 {
    std::env::var("RELAIS_SCHEDULE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

fn start() -> Cluster {
    Cluster::start(3, Options { slots: 16, ..Options::default() })
}

/// The dispatcher is killed, another follows, the old one comes back; the number of one that was up all along.
fn failover(cluster: &mut Cluster) -> usize {
    let (old, epoch) = cluster.dispatcher();
    cluster.nodes[old].kill();
    let (next, _) = cluster.successor(old, epoch);
    cluster.nodes[old].start();
    cluster.await_whole();
    next
}

#[test]
fn every_second_is_fired_once_over_three_failovers() {
    let _turn = Turn::beside();
    let mut cluster = start();
    let kinds = ["all", "once", "skip"];
    for missed in kinds {
        cluster.nodes[0].set_schedule(missed, &body(missed, EVERY_SECOND, missed, "allow", &json!({})));
    }
    let (began, time) = (Instant::now(), Duration::from_secs(seconds()));
    for round in 1..=FAILOVERS {
        let blow = began + time * round / (FAILOVERS + 1);
        until("the time of the next blow", time, || (Instant::now() >= blow).then_some(()));
        failover(&mut cluster);
    }
    until("the end of the time", time, || (began.elapsed() >= time).then_some(()));
    for missed in kinds {
        cluster.nodes[0].pause_schedule(missed, true);
    }
    for missed in kinds {
        let (slots, node) = (cluster.nodes[0].slots(missed), &cluster.nodes[1]);
        let (left_out, twice) = seconds_amiss(&slots);
        let (fired, counted) = (node.schedule_count(missed, "fired"), node.schedule_count(missed, "missed"));
        println!("{missed}: {fired} fired, {counted} missed, {} left out, {} twice", left_out.len(), twice.len());
        assert_eq!(twice, [], "{missed}");
        assert_eq!(fired, slots.len() as u64, "{missed}");
        assert!(fired + counted >= seconds() - 1, "{missed}: {fired} and {counted} of {} s", seconds());
        // Slots that were missed after the last one that was fired are counted, and not in between.
        assert!(left_out.len() as u64 <= counted, "{missed}: {} of {counted}", left_out.len());
        if missed == "all" {
            assert_eq!((left_out, counted), (Vec::new(), 0));
        }
    }
    cluster.await_all_ended(0, Duration::from_secs(60));
}

#[test]
fn pause_overlap_and_what_was_fired_by_hand_outlive_the_dispatcher() {
    let _turn = Turn::beside();
    let mut cluster = start();
    let (long, short) = (json!({"sleep": "10m"}), json!({}));
    let node = &cluster.nodes[0];
    node.set_schedule("rests", &body("rests", EVERY_SECOND, "all", "allow", &short));
    node.pause_schedule("rests", true);
    let rested = node.schedule_count("rests", "fired");
    node.set_schedule("forbid", &body("forbid", EVERY_SECOND, "skip", "forbid", &long));
    node.set_schedule("replace", &body("replace", EVERY_SECOND, "skip", "replace", &long));
    until("jobs that overlap", SEEN, || {
        (node.schedule_count("forbid", "skipped") > 1 && node.schedule_count("replace", "fired") > 2).then_some(())
    });
    let up = failover(&mut cluster);
    let node = &cluster.nodes[up];
    let (skipped, replaced) = (node.schedule_count("forbid", "skipped"), node.schedule_count("replace", "fired"));
    until("slots after the failover", SEEN, || {
        let goes_on = node.schedule_count("forbid", "skipped") > skipped + 1;
        (goes_on && node.schedule_count("replace", "fired") > replaced + 1).then_some(())
    });
    assert_eq!(node.slots("forbid").len(), 1, "they overlapped");
    assert_eq!(node.schedule_count("rests", "fired"), rested, "it was paused");

    let by_hand = node.ask("POST", "/v1/schedules/rests:trigger", "").expect("an answer");
    assert_eq!(by_hand.status, 201, "{}", by_hand.text());
    let refused = node.ask("POST", "/v1/schedules/forbid:trigger", "").expect("an answer");
    assert_eq!(refused.status, 409, "{}", refused.text());
    node.pause_schedule("replace", true);
    until("all but one of them to be replaced", SEEN, || {
        let jobs = node.jobs();
        let open = jobs.iter().filter(|job| job.name.as_deref() == Some("replace") && !job.has_ended());
        (open.count() == 1).then_some(())
    });
    node.pause_schedule("rests", false);
    until("it to go on", SEEN, || (node.schedule_count("rests", "fired") > rested).then_some(()));
    assert_eq!(node.schedule_count("rests", "missed"), 0, "nothing is missed while it rests");
    assert!(node.schedule_count("rests", "fired") < rested + 10, "what was due meanwhile is not made up for");
    let told = node.read("/v1/schedules/rests/firings").expect("its firings");
    let hand: Vec<&Value> =
        told["firings"].as_array().into_iter().flatten().filter(|f| f["triggered"] == true).collect();
    assert_eq!((hand.len(), &hand[0]["job"]), (1, &by_hand.json()["id"]));
}

#[test]
fn what_was_due_while_all_were_off_is_skipped_fired_once_or_all_of_it() {
    let _turn = Turn::beside();
    let mut cluster = start();
    let kinds = ["all", "once", "skip"];
    for missed in kinds {
        cluster.nodes[0].set_schedule(missed, &body(missed, EVERY_SECOND, missed, "allow", &json!({})));
    }
    until("some to be fired", SEEN, || (cluster.nodes[0].schedule_count("skip", "fired") > 2).then_some(()));
    for node in &mut cluster.nodes {
        node.kill();
    }
    let (off, time) = (Instant::now(), Duration::from_secs(6));
    until("an outage", time * 2, || (off.elapsed() > time).then_some(()));
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.await_whole();
    let node = &cluster.nodes[0];
    let missed = |name: &str| node.schedule_count(name, "missed");
    until("what was missed to be counted", SEEN, || (missed("skip") > 0 && missed("once") > 0).then_some(()));
    until("slots after it", SEEN, || (node.slots("all").len() > 12).then_some(()));
    for name in kinds {
        node.pause_schedule(name, true);
    }
    let (left_out, twice) = seconds_amiss(&node.slots("all"));
    assert_eq!((left_out, twice, missed("all")), (Vec::new(), Vec::new(), 0), "all of it is made up for");
    let (left_out, twice) = seconds_amiss(&node.slots("skip"));
    assert_eq!((left_out.len() as u64, twice.len()), (missed("skip"), 0));
    let (left_out, twice) = seconds_amiss(&node.slots("once"));
    assert_eq!((left_out.len() as u64, twice.len()), (missed("once"), 0));
    assert!(missed("skip") > missed("once"), "{} and {}", missed("skip"), missed("once"));
    stays("a paused schedule", Duration::from_secs(2), || {
        let due = node.schedule("all")["next"].as_array().is_some_and(|next| !next.is_empty());
        due.then(|| "it is due".to_owned())
    });
}

#[test]
fn the_command_line_sets_shows_and_removes_them() {
    let _turn = Turn::beside();
    let cluster = start();
    let relais = |args: &[&str]| {
        let output = cluster.nodes[1].relais(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let set = ["schedules", "set", "nightly", "--cron", "0 30 2 * * *", "--time-zone", "Europe/Paris", "--", "true"];
    let (code, said, told) = relais(&set);
    assert!(code == Some(0) && said.starts_with("nightly is due next at 20"), "{code:?} {said} {told}");
    let (_, said, _) = relais(&["schedules", "ls"]);
    assert!(said.contains("nightly") && said.contains("0 30 2 * * *") && said.contains("Europe/Paris"), "{said}");
    let (code, said, _) = relais(&["schedules", "trigger", "nightly"]);
    assert_eq!((code, said.trim().len()), (Some(0), 36), "{said}");
    let (code, _, told) = relais(&["wait", said.trim()]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(relais(&["schedules", "pause", "nightly"]).1, "nightly rests\n");
    let (_, shown, _) = relais(&["schedules", "show", "nightly"]);
    assert!(shown.contains("paused") && shown.contains(said.trim()), "{shown}");
    assert_eq!(relais(&["schedules", "resume", "nightly"]).1, "nightly goes on\n");
    let (code, _, told) = relais(&["schedules", "set", "x", "--cron", "sometimes", "--", "true"]);
    assert!(code == Some(1) && told.contains("/cron"), "{code:?} {told}");
    assert_eq!(relais(&["schedules", "rm", "nightly"]).0, Some(0));
    assert_eq!(relais(&["schedules", "show", "nightly"]).0, Some(1));
}
