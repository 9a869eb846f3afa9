//! What a job asks of a node, and which of those that fit it goes to.

use super::raw::{RawRequires, Text};
use super::rules::{Errors, bounded, labels, one_of, push};
use relais_protocol::size::{CPU_MILLIS_MAX, parse_bytes};
use relais_protocol::spec::{Placement, Requires};

/// Slots that one job may take.
const SLOTS_MAX: i64 = 65_535;

pub(super) fn requires(raw: RawRequires<'_>, errors: &mut Errors) -> Requires {
    Requires {
        slots: bounded(raw.slots, "/requires/slots", 1, SLOTS_MAX, 1, errors) as u32,
        cpu_millis: raw.cpu.map_or(0, |cores| cpu_millis(cores, errors)),
        memory_bytes: raw.memory.map_or(0, |text| memory_bytes(&text, errors)),
        labels: labels(raw.labels, "/requires/labels", errors),
        kind: None,
        node: None,
    }
}

fn cpu_millis(cores: f64, errors: &mut Errors) -> u32 {
    let millis = (cores * 1_000.0).round();
    let is_whole = (cores * 1_000.0 - millis).abs() < 1e-6;
    if !is_whole || !(1.0..=f64::from(CPU_MILLIS_MAX)).contains(&millis) {
        let detail =
            "must be a number of cores from 0.001 to 65536, with three decimals at most; leave it out for none";
        push(errors, "/requires/cpu", detail);
        return 0;
    }
    millis as u32
}

fn memory_bytes(text: &Text<'_>, errors: &mut Errors) -> u64 {
    match parse_bytes(&text.0) {
        Ok(0) => push(errors, "/requires/memory", "must be more than 0; leave it out for none"),
        Ok(bytes) => return bytes,
        Err(why) => push(errors, "/requires/memory", &why),
    }
    0
}

pub(super) fn placement(text: Option<&Text<'_>>, errors: &mut Errors) -> Placement {
    // `every` is a matter of how many jobs there are, each bound to its node.
    let text = text.filter(|text| text.0 != "every");
    one_of(text, "/placement", &[("spread", Placement::Spread), ("pack", Placement::Pack)], errors)
}
