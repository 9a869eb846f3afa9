//! Which losses the cluster would survive now, in a sentence: a pure function of who votes, who is up and what
//! falls together. It counts machines and not processes: nodes of one machine, or of one `failure_domain`
//! label, fall together.

use crate::config::FAILURE_DOMAIN_LABEL;
use relais_dispatcher::ledger::NodeRow;
use relais_protocol::settings::{Settings, Takeover};
use relais_protocol::time::duration_text;
use std::collections::{BTreeMap, BTreeSet};

/// Combinations that a sentence names one by one.
const NAMED_MAX: usize = 6;

/// A node, as far as it matters to what is survived.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Its name.
    pub(super) name: String,
    /// What it falls with, see [`domain`].
    pub(super) domain: String,
    /// Whether that is a `failure_domain` label.
    pub(super) labelled: bool,
    /// Whether it only votes and stores.
    pub(super) witness: bool,
    /// Whether it votes.
    pub(super) voter: bool,
    /// Whether it is up.
    pub(super) up: bool,
}

/// What would be survived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prospects {
    /// In words.
    pub(super) sentence: String,
    /// Whether the loss of any one machine is; of any one node, where all share one machine.
    pub(super) any_one: bool,
}

/// What a node falls with: its `failure_domain` label, else its machine.
pub(super) fn domain(row: &NodeRow) -> &str {
    let label = row.label(FAILURE_DOMAIN_LABEL);
    let machine = if row.facts.machine.is_empty() { &row.name } else { &row.facts.machine };
    label.unwrap_or(machine)
}

/// Nodes that fall together.
struct Unit<'a> {
    nodes: Vec<&'a Place>,
}

impl Unit<'_> {
    fn name(&self) -> String {
        let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        match (names.as_slice(), self.nodes.first()) {
            ([name], _) => (*name).to_owned(),
            (_, Some(first)) if first.labelled => format!("{} (failure domain `{}`)", list(&names), first.domain),
            _ => format!("{} (one machine)", list(&names)),
        }
    }

    fn votes(&self) -> bool {
        self.nodes.iter().any(|node| node.voter)
    }
}

/// Looks at every loss of one, two and three machines.
pub(super) fn prospects(places: &[Place], settings: &Settings) -> Prospects {
    let voters = places.iter().filter(|place| place.voter).count();
    let up: Vec<&Place> = places.iter().filter(|place| place.up).collect();
    let voters_up = up.iter().filter(|place| place.voter).count();
    let nothing = |why: String| Prospects { sentence: format!("nothing: {why}"), any_one: false };
    if voters_up == 0 {
        return nothing("no voter is known to be online".to_owned());
    }
    if voters_up * 2 <= voters {
        let are = if voters_up == 1 { "is" } else { "are" };
        return nothing(format!("{voters_up} of {voters} voters {are} online, and more than half are needed"));
    }
    let domains: BTreeSet<&str> = up.iter().map(|place| place.domain.as_str()).collect();
    let shared = up.len() > 1 && domains.len() == 1;
    let (units, others) = units(&up, shared);
    let look = Look { units: &units, voters, settings };
    let singles: Vec<bool> = (0..units.len()).map(|at| look.survives(&[at])).collect();
    let each = (0..units.len()).map(|at| format!("{}: {}", units[at].name(), look.says(at, singles[at])));
    let mut parts: Vec<String> = if shared {
        let labelled = up.first().is_some_and(|place| place.labelled);
        let what = if labelled { "failure domain" } else { "machine" };
        let each = each.collect::<Vec<_>>().join(", ");
        vec![format!("loss of the one {what} that all nodes share: no; of one process there, {each}")]
    } else {
        each.map(|one| format!("loss of {one}")).collect()
    };
    if singles.contains(&true) {
        parts.extend(look.together());
    }
    if others {
        parts.push("loss of any node that does not vote: yes".to_owned());
    }
    Prospects { sentence: parts.join("; "), any_one: singles.iter().all(|yes| *yes) }
}

/// What falls together and holds a voter, in the order of names; and whether anything else is up.
fn units<'a>(up: &[&'a Place], each_alone: bool) -> (Vec<Unit<'a>>, bool) {
    let mut by_domain: BTreeMap<String, Vec<&Place>> = BTreeMap::new();
    for place in up {
        let key = if each_alone { &place.name } else { &place.domain };
        by_domain.entry(key.clone()).or_default().push(place);
    }
    let (mut voting, others): (Vec<Unit<'_>>, Vec<Unit<'_>>) =
        by_domain.into_values().map(|nodes| Unit { nodes }).partition(Unit::votes);
    voting.sort_by_key(Unit::name);
    (voting, !others.is_empty())
}

struct Look<'a> {
    units: &'a [Unit<'a>],
    voters: usize,
    settings: &'a Settings,
}

impl Look<'_> {
    fn left(&self, lost: &[usize]) -> Vec<&Place> {
        let kept = self.units.iter().enumerate().filter(|(at, _)| !lost.contains(at));
        kept.flat_map(|(_, unit)| unit.nodes.iter().copied()).filter(|node| node.voter).collect()
    }

    fn survives(&self, lost: &[usize]) -> bool {
        let left = self.left(lost);
        let dispatches = left.iter().any(|node| !node.witness);
        let is_majority = left.len() * 2 > self.voters;
        let takes_over = self.voters == 2 && left.len() == 1 && self.settings.takeover != Takeover::Off;
        dispatches && (is_majority || takes_over)
    }

    /// Yes or no to the loss of one unit; in a pair, by whom and on what condition.
    fn says(&self, lost: usize, yes: bool) -> String {
        let left = self.left(&[lost]);
        let ([survivor], 2) = (left.as_slice(), self.voters) else {
            return if yes { "yes" } else { "no" }.to_owned();
        };
        let (name, after) = (&survivor.name, duration_text(self.settings.takeover_after_ms));
        match &self.settings.takeover {
            Takeover::Off => "no, takeover is off".to_owned(),
            Takeover::Available => format!("yes, {name} takes over after {after}"),
            Takeover::TieBreak(at) => format!("yes, {name} takes over after {after} if it reaches {at}"),
            Takeover::Fence(_) => format!("yes, {name} takes over after {after} if the fence command succeeds"),
        }
    }

    /// Losses of several at once, for as long as some are survived.
    fn together(&self) -> Vec<String> {
        let mut parts = Vec::new();
        for (count, word) in [(2, "two"), (3, "three")] {
            let sets = combinations(self.units.len(), count);
            let (survived, fatal): (Vec<_>, Vec<_>) = sets.into_iter().partition(|set| self.survives(set));
            match (survived.is_empty(), fatal.is_empty()) {
                (true, true) => return parts,
                (true, false) => {
                    parts.push(format!("any {word} together: no"));
                    return parts;
                }
                (false, true) => parts.push(format!("any {word} together: yes")),
                (false, false) => {
                    parts.extend(self.mixed(&survived, &fatal, word));
                    return parts;
                }
            }
        }
        parts
    }

    /// Names the fewer ones, and says what holds for the rest.
    fn mixed(&self, survived: &[Vec<usize>], fatal: &[Vec<usize>], word: &str) -> Vec<String> {
        let (named, verdict, rest) =
            if fatal.len() <= survived.len() { (fatal, "no", "yes") } else { (survived, "yes", "no") };
        if named.len() > NAMED_MAX {
            return vec![format!("of any {word} together: it depends on which")];
        }
        let name = |set: &Vec<usize>| {
            let nodes = set.iter().flat_map(|at| &self.units[*at].nodes);
            let names: Vec<&str> = nodes.map(|node| node.name.as_str()).collect();
            format!("{} together: {verdict}", list(&names))
        };
        named.iter().map(name).chain([format!("any other {word} together: {rest}")]).collect()
    }
}

fn combinations(of: usize, count: usize) -> Vec<Vec<usize>> {
    let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..count {
        let longer = |set: &Vec<usize>| {
            let from = set.last().map_or(0, |last| last + 1);
            (from..of).map(|next| [set.as_slice(), &[next]].concat()).collect::<Vec<_>>()
        };
        sets = sets.iter().flat_map(longer).collect();
    }
    sets
}

/// `a`, `a and b`, `a, b and c`.
fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests;
