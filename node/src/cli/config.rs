//! `relais config`: what a node would be started with, and where each setting comes from.

use super::failure::Failure;
use super::screen::{Format, Screen};
use super::table::Table;
use crate::config::{Shown, StartConfig};
use serde_json::json;
use std::path::PathBuf;

/// Show the settings that `relais start` would use here
#[derive(clap::Args)]
#[command(after_help = "\
Defaults < config file < environment < flags of `relais start`. An unknown key or a bad value is an error, as it
is for `relais start`.

Examples:
  relais config show --origin
  relais config show --config /etc/relais.toml -o json")]
pub(crate) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show each setting
    #[command(after_help = "Example:\n  relais config show --origin --config /etc/relais.toml")]
    Show {
        /// With where it comes from: a line of the file, a variable, or the default
        #[arg(long)]
        origin: bool,
        /// A TOML file with settings
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// How to answer
        #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
        output: Format,
    },
}

impl Config {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let Command::Show { origin, config, output } = self.command;
        let host = hostname::get().unwrap_or_default();
        let rows = StartConfig::explain(config.as_deref(), variables(), &host.to_string_lossy())
            .map_err(|error| Failure::Usage(error.to_string()))?;
        print(Screen::of_process(output), &rows, origin)?;
        Ok(0)
    }
}

/// The environment as far as it is text: what is none is no setting of ours.
pub(crate) fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
}

fn print(screen: Screen, rows: &[Shown], origin: bool) -> Result<(), Failure> {
    let object = |row: &Shown| json!({ "setting": row.setting, "value": row.value, "origin": row.origin });
    match screen.format {
        Format::Json => screen.line(&json!({ "settings": rows.iter().map(object).collect::<Vec<_>>() }).to_string()),
        Format::Jsonl => rows.iter().try_for_each(|row| screen.line(&object(row).to_string())),
        Format::Quiet => rows.iter().try_for_each(|row| screen.line(&format!("{}={}", row.setting, row.value))),
        Format::Table => {
            let columns = ["SETTING", "VALUE", "ORIGIN"];
            let shown = if origin { 3 } else { 2 };
            let mut table = Table::new(screen, &columns[..shown]);
            for row in rows {
                table.row([&row.setting, &row.value, &row.origin].into_iter().take(shown));
            }
            table.print()
        }
    }
}
