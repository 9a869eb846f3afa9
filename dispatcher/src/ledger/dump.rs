//! A stored row, typed, so that it can be shown: what an export of the journal says of the ledger.

use super::unique::UniqueRow;
use super::{Head, Ledger, LoadError, Violation, keys};
use crate::rows::Rows;
use relais_protocol::group::{GroupInputs, GroupRow, GroupSpec};
use relais_protocol::history::Lineage;
use relais_protocol::ids::Index;
use relais_protocol::job::Job;
use relais_protocol::merge::{Gone, KeyRow, SettingRow, TokenRow};
use relais_protocol::node::NodeRow;
use relais_protocol::queue::{QueueFlow, QueueRow};
use relais_protocol::record::Failover;
use relais_protocol::schedule::{FiringLog, ScheduleRow};
use relais_protocol::spec::QueueName;
use serde::Serialize;
use std::sync::Arc;

/// A row of the ledger. Its content is not public: it is for showing, by `Serialize`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct DumpRow(Typed);

#[derive(Debug, Serialize)]
#[serde(tag = "table", content = "row", rename_all = "snake_case")]
enum Typed {
    Head(Head),
    Node(Box<NodeRow>),
    Job(Box<Job>),
    Key(String, KeyRow),
    Token(TokenRow),
    Setting(SettingRow),
    Failover(Box<Failover>),
    Lineage(Lineage),
    Gone(Gone),
    Queue(Box<QueueRow>),
    QueueFlow(QueueName, QueueFlow),
    Unique(String, UniqueRow),
    Schedule(Box<ScheduleRow>),
    Firings(FiringLog),
    Group(Box<GroupRow>),
    GroupSpec(Box<GroupSpec>),
    GroupInputs(GroupInputs),
}

/// The row under `key`; `None` for one that only serves to find others.
///
/// # Errors
/// It can't be decoded.
pub fn dump(key: &[u8], row: &[u8]) -> Result<Option<DumpRow>, LoadError> {
    let typed = match key.first() {
        Some(&keys::JOB) => Typed::Job(keys::decode_row(key, row)?),
        Some(&keys::NODE) => Typed::Node(keys::decode_row(key, row)?),
        Some(&keys::KEY) => Typed::Key(String::from_utf8_lossy(&key[1..]).into_owned(), keys::decode_row(key, row)?),
        Some(&keys::TOKEN) => Typed::Token(keys::decode_row(key, row)?),
        Some(&keys::SETTING) => Typed::Setting(keys::decode_row(key, row)?),
        Some(&keys::FAILOVER) => Typed::Failover(keys::decode_row(key, row)?),
        Some(&keys::LINEAGE) => Typed::Lineage(keys::decode_row(key, row)?),
        Some(&keys::GONE) => Typed::Gone(keys::decode_row(key, row)?),
        Some(&keys::QUEUE) => Typed::Queue(keys::decode_row(key, row)?),
        Some(&keys::FLOW) => {
            let (name, flow) = keys::decode_row(key, row)?;
            Typed::QueueFlow(name, flow)
        }
        Some(&keys::UNIQUE) => {
            Typed::Unique(String::from_utf8_lossy(&key[1..]).into_owned(), keys::decode_row(key, row)?)
        }
        Some(&keys::SCHEDULE) => Typed::Schedule(keys::decode_row(key, row)?),
        Some(&keys::FIRINGS) => Typed::Firings(keys::decode_row(key, row)?),
        Some(&keys::GROUP) => Typed::Group(keys::decode_row(key, row)?),
        Some(&keys::GROUP_SPEC) => Typed::GroupSpec(keys::decode_row(key, row)?),
        Some(&keys::GROUP_INPUTS) => Typed::GroupInputs(keys::decode_row(key, row)?),
        _ if key == keys::HEAD => Typed::Head(keys::decode_row(key, row)?),
        _ => return Ok(None),
    };
    Ok(Some(DumpRow(typed)))
}

/// Loads a ledger from `rows` and checks its indexes against them.
///
/// # Errors
/// In words, with the first thing that is wrong.
pub fn check(rows: Arc<dyn Rows>) -> Result<(), String> {
    let ledger = Ledger::load(rows, Index(0)).map_err(|e| e.to_string())?;
    ledger.check_invariants().map_err(|Violation(what)| what)
}
