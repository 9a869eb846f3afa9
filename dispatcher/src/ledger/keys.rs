//! Keys of rows: one leading byte names the table.

use super::LoadError;
use crate::rows::Rows;
use relais_protocol::codec;
use relais_protocol::ids::JobId;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// The head row.
pub(super) const HEAD: &[u8] = b"h";
/// Jobs, by id.
pub(super) const JOB: u8 = b'j';
/// Idempotency keys, by key.
pub(super) const KEY: u8 = b'k';
/// Idempotency keys, by the time that they end.
pub(super) const KEY_END: u8 = b'x';
/// Nodes, by id.
pub(super) const NODE: u8 = b'n';
/// Tokens, by id.
pub(super) const TOKEN: u8 = b't';
/// Settings, by name.
pub(super) const SETTING: u8 = b's';
/// Failovers, by epoch.
pub(super) const FAILOVER: u8 = b'f';
/// The same in full, the newest of them.
pub(super) const TALE: u8 = b'g';

/// Histories, by generation.
pub(super) const LINEAGE: u8 = b'l';
/// Tombstones, by table and id.
pub(super) const GONE: u8 = b'd';
/// Queues that something was set of, by name; how queues flow, by name; the pass that was last served.
pub(super) const QUEUE: u8 = b'q';
pub(super) const FLOW: u8 = b'p';
pub(super) const REACHED: &[u8] = b"v";
/// Unique keys, by key; the same by the time that they end; those that both sides of a split had, by key and job.
pub(super) const UNIQUE: u8 = b'u';
pub(super) const UNIQUE_END: u8 = b'e';
pub(super) const CONTESTED: u8 = b'w';
/// Schedules, by name.
pub(super) const SCHEDULE: u8 = b'c';
/// What became of their slots, by name.
pub(super) const FIRINGS: u8 = b'r';
/// Groups, by id; what their members are made from; their inputs, by id and first member.
pub(super) const GROUP: u8 = b'a';
pub(super) const GROUP_SPEC: u8 = b'b';
pub(super) const GROUP_INPUTS: u8 = b'i';

/// No row is longer: a job's payload, result and texts, with room.
const ROW_BYTES_MAX: usize = 16 << 20;

/// The key of row `id` of `table`.
pub(super) fn key(table: u8, id: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + id.len());
    key.push(table);
    key.extend_from_slice(id);
    key
}

/// The key of a job.
pub(super) fn job_key(id: JobId) -> Vec<u8> {
    key(JOB, &id.0.to_be_bytes())
}

/// The job of a key.
pub(super) fn job_of(key: &[u8]) -> Option<JobId> {
    let bytes: [u8; 16] = key.get(1..)?.try_into().ok()?;
    Some(JobId(u128::from_be_bytes(bytes)))
}

/// Decodes the row under `key`.
pub(super) fn decode_row<T: DeserializeOwned>(key: &[u8], row: &[u8]) -> Result<T, LoadError> {
    codec::decode(codec::FORMAT, row, ROW_BYTES_MAX)
        .map_err(|source| LoadError { key: key.escape_ascii().to_string(), source })
}

/// Visits every row of `table`.
pub(super) fn each_row<T: DeserializeOwned>(
    rows: &dyn Rows,
    table: u8,
    mut visit: impl FnMut(T),
) -> Result<(), LoadError> {
    let mut failed = None;
    rows.scan(&[table], &[table + 1], false, &mut |key, row| match decode_row(key, row) {
        Ok(value) => {
            visit(value);
            true
        }
        Err(error) => {
            failed = Some(error);
            false
        }
    });
    failed.map_or(Ok(()), Err)
}

/// All rows of a small table, under the id that is in them.
pub(super) fn load_table<T: DeserializeOwned, K: Ord>(
    rows: &dyn Rows,
    table: u8,
    id: impl Fn(&T) -> K,
) -> Result<BTreeMap<K, T>, LoadError> {
    let mut loaded = BTreeMap::new();
    each_row(rows, table, |value: T| {
        loaded.insert(id(&value), value);
    })?;
    Ok(loaded)
}
