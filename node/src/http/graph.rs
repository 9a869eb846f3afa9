//! Jobs of one batch that depend on each other by `ref`: names become ids, and parents come before their
//! children, since a job can depend only on one that is known. A circle, an unknown name or a parent that was
//! refused spoils only the jobs that it concerns.

use super::Api;
use super::batch::{self, Read};
use super::problem::{FieldError, Problem};
use super::spec::{Local, ref_pointer};
use relais_protocol::ids::JobId;
use relais_protocol::record::{Outcome, Record, Refusal};
use relais_protocol::spec::{Condition, Dependency};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An item's parents in its batch: which item, how it must end, and where that stands.
type Parents = BTreeMap<usize, Vec<(usize, Condition, usize)>>;

/// Gives ids to names and puts parents first.
pub(super) fn resolve(read: &mut Read) {
    if read.locals.is_empty() {
        return;
    }
    let locals = std::mem::take(&mut read.locals);
    let names = names(&locals, &mut read.items);
    let parents = parents(&locals, &names, &mut read.items);
    let order = order(&parents, &mut read.items);
    spoil_children(&order, &parents, &mut read.items);
    link(&order, &parents, read);
    read.locals = locals;
}

fn spoil(item: &mut Result<usize, Problem>, pointer: &str, detail: &str) {
    *item = Err(Problem::fields(vec![FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() }]));
}

fn names<'a>(locals: &'a [(usize, Local)], items: &mut [Result<usize, Problem>]) -> HashMap<&'a str, usize> {
    let mut names = HashMap::new();
    for (item, local) in locals {
        let Some(name) = local.name.as_deref() else { continue };
        if names.contains_key(name) {
            spoil(&mut items[*item], "/ref", "is the name of another job of the batch");
        } else {
            names.insert(name, *item);
        }
    }
    names
}

fn parents(locals: &[(usize, Local)], names: &HashMap<&str, usize>, items: &mut [Result<usize, Problem>]) -> Parents {
    let mut parents = Parents::new();
    for (item, local) in locals {
        for (name, on, place) in &local.parents {
            match names.get(name.as_str()) {
                Some(parent) => parents.entry(*item).or_default().push((*parent, *on, *place)),
                None => spoil(&mut items[*item], &ref_pointer(*place), "no job of the batch has this `ref`"),
            }
        }
    }
    parents
}

/// All items, each after its parents and otherwise as they came (A. B. Kahn, "Topological sorting of large
/// networks", 1962). Whoever is left over is in a circle, or depends on one.
fn order(parents: &Parents, items: &mut [Result<usize, Problem>]) -> Vec<usize> {
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut open: HashMap<usize, usize> = HashMap::new();
    for (child, of_child) in parents {
        let distinct: BTreeSet<usize> = of_child.iter().map(|(parent, ..)| *parent).collect();
        open.insert(*child, distinct.len());
        distinct.into_iter().for_each(|parent| children.entry(parent).or_default().push(*child));
    }
    let mut ready: BTreeSet<usize> = (0..items.len()).filter(|item| !open.contains_key(item)).collect();
    let mut order = Vec::with_capacity(items.len());
    while let Some(item) = ready.pop_first() {
        order.push(item);
        for child in children.get(&item).into_iter().flatten() {
            let Some(left) = open.get_mut(child) else { continue };
            *left -= 1;
            if *left == 0 {
                open.remove(child);
                ready.insert(*child);
            }
        }
    }
    for item in open.into_keys() {
        spoil(&mut items[item], "/depends_on", "leads in a circle: jobs of the batch wait for each other");
    }
    order
}

fn spoil_children(order: &[usize], parents: &Parents, items: &mut [Result<usize, Problem>]) {
    for item in order {
        let of_item = parents.get(item).into_iter().flatten();
        let bad = of_item.into_iter().find(|(parent, ..)| items[*parent].is_err()).map(|(.., place)| *place);
        if let Some(place) = bad.filter(|_| items[*item].is_ok()) {
            spoil(&mut items[*item], &ref_pointer(place), "names a job of the batch that was refused");
        }
    }
}

/// The records of the items that are good, in order, each with the ids of its parents.
fn link(order: &[usize], parents: &Parents, read: &mut Read) {
    let mut records: Vec<Option<Record>> = std::mem::take(&mut read.records).into_iter().map(Some).collect();
    let mut ids: HashMap<usize, JobId> = HashMap::new();
    for item in order {
        let Ok(record) = read.items[*item] else { continue };
        let Some(Record::Submit(mut submit)) = records.get_mut(record).and_then(Option::take) else { continue };
        let of_item = parents.get(item).into_iter().flatten();
        let known = of_item.filter_map(|(parent, on, _)| Some(Dependency { job: *ids.get(parent)?, on: *on }));
        let known: Vec<Dependency> = known.collect();
        if !known.is_empty() {
            submit.spec.options.get_or_insert_default().depends_on.extend(known);
        }
        ids.insert(*item, submit.id);
        read.items[*item] = Ok(read.records.len());
        read.records.push(Record::Submit(submit));
    }
}

/// Proposes records in order. Where a parent turns out to be known already under another id, by its
/// idempotency key, its children are proposed again, with that id.
pub(super) async fn propose(api: &Api, mut records: Vec<Record>) -> Result<Vec<Outcome>, Problem> {
    let mut outcomes = batch::propose(api, records.clone()).await?;
    loop {
        let renamed = renamed(&records, &outcomes);
        let again: Vec<usize> = (0..records.len())
            .filter(
                |at| matches!(&outcomes[*at], Outcome::Refused(Refusal::NoSuchParent(id)) if renamed.contains_key(id)),
            )
            .collect();
        if again.is_empty() {
            return Ok(outcomes);
        }
        for at in &again {
            if let Record::Submit(submit) = &mut records[*at]
                && let Some(options) = submit.spec.options.as_mut()
            {
                for dependency in &mut options.depends_on {
                    dependency.job = *renamed.get(&dependency.job).unwrap_or(&dependency.job);
                }
            }
        }
        let proposed = batch::propose(api, again.iter().map(|at| records[*at].clone()).collect()).await?;
        for (at, outcome) in again.into_iter().zip(proposed) {
            outcomes[at] = outcome;
        }
    }
}

/// The id that each job was given here, and the one that it had before.
fn renamed(records: &[Record], outcomes: &[Outcome]) -> HashMap<JobId, JobId> {
    let pairs = records.iter().zip(outcomes).filter_map(|(record, outcome)| match (record, outcome) {
        (Record::Submit(submit), Outcome::Submitted { id, .. }) if *id != submit.id => Some((submit.id, *id)),
        _ => None,
    });
    pairs.collect()
}
