//! `relais nodes`: the node table.

use super::client::{Answer, Call};
use super::failure::Failure;
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::table::Table;
use super::time_text::{bytes, span};
use super::view;

const COLUMNS: [&str; 11] =
    ["NAME", "ROLE", "STATUS", "RUNNING", "CPU", "MEM FREE", "NET IN", "NET OUT", "JOURNAL", "HEARD", "HTTP"];
const LEFT_OUT_WHEN_NARROW: [usize; 3] = [6, 7, 8];
const WIDE: u16 = 116;

/// List the nodes: role, status, load
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais nodes
  relais nodes -o json
  relais nodes --addr 10.0.0.5:7700,10.0.0.6:7700")]
pub(crate) struct Nodes {
    #[command(flatten)]
    remote: Remote,
}

impl Nodes {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let answer = self.remote.client()?.call(&Call::read("/v1/nodes")).await?;
        match screen.format {
            Format::Json => screen.json(&answer)?,
            Format::Jsonl => screen.rows(&answer, "nodes")?,
            Format::Quiet => {
                for node in view::rows::<view::Node>(&answer, "nodes")? {
                    screen.line(&node.name)?;
                }
            }
            Format::Table => print(screen, &answer)?,
        }
        Ok(0)
    }
}

fn print(screen: Screen, answer: &Answer) -> Result<(), Failure> {
    let nodes = view::rows::<view::Node>(answer, "nodes")?;
    table(screen, &nodes).print()?;
    for node in nodes {
        if let Some(reason) = node.reason.filter(|reason| !reason.is_empty()) {
            screen.line(&super::failure::one_line(&format!("{}: {reason}", node.name)))?;
        }
    }
    Ok(())
}

/// The node table.
pub(crate) fn table(screen: Screen, nodes: &[view::Node]) -> Table {
    let narrow = !Table::has_room_for(screen, WIDE);
    let kept = |at: &usize| !(narrow && LEFT_OUT_WHEN_NARROW.contains(at));
    let columns: Vec<&str> = (0..COLUMNS.len()).filter(kept).map(|at| COLUMNS[at]).collect();
    let mut table = Table::new(screen, &columns);
    for node in nodes {
        let cells = cells(node);
        table.row((0..COLUMNS.len()).filter(kept).map(|at| cells[at].as_str()));
    }
    table
}

fn cells(node: &view::Node) -> [String; COLUMNS.len()] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rate = |amount: Option<f64>| or_dash(amount.map(|n| format!("{}/s", bytes(n))));
    let running = match (node.running, node.slots) {
        (Some(running), Some(slots)) => format!("{running} of {slots}"),
        _ => "-".to_owned(),
    };
    [
        node.name.clone(),
        node.role.clone(),
        node.status.clone(),
        running,
        or_dash(node.cpu_percent.map(|n| format!("{n:.0}%"))),
        or_dash(node.memory_available_bytes.map(|n| bytes(n as f64))),
        rate(node.net_in_bytes_per_second),
        rate(node.net_out_bytes_per_second),
        or_dash(node.journal_index.map(|n| n.to_string())),
        or_dash(node.last_heard_ms.map(|ms| span(ms, true))),
        or_dash(node.http.as_deref().map(|url| url.trim_start_matches("http://").to_owned())),
    ]
}
