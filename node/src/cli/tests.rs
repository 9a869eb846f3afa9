//! The command line as a whole: it is consistent, helps, and parses what it promises.

use super::*;
use clap::CommandFactory;

fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
    let path = format!("{path} {}", command.get_name());
    found.push((path.trim_start().to_owned(), command.clone()));
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        leaves(inner, &path, found);
    }
}

#[test]
fn every_help_has_an_example() {
    Cli::command().debug_assert();
    let mut found = Vec::new();
    leaves(&Cli::command(), "", &mut found);
    assert!(found.len() > 15, "{}", found.len());
    for (path, mut command) in found {
        let help = command.render_long_help().to_string();
        let shown = help.contains(&format!("\n  {}", path.split(' ').take(2).collect::<Vec<_>>().join(" ")))
            || help.contains("| relais submit");
        assert!(shown, "`{path} --help` shows no example:\n{help}");
    }
}

#[test]
fn documented_lines_are_parsed() {
    let lines = [
        "dev --nodes 3 --http 127.0.0.1:7700 --data-dir ./relais-data --slots 4",
        "start --name n1 --data-dir d --http 127.0.0.1:7700 --listen 0.0.0.0:7800 --advertise a:1 \
         --advertise-http http://a:2 --slots 2 --cpu 1.5 --memory 2GiB --label a=b --label c=d --join a:3 --token rl1.x --config f",
        "submit --queue q --priority 100 --timeout 1h --retries 3 --env A=b --label a=b --require zone=eu \
         --key k --delay 10m --wait -- sh -c true",
        "submit --concurrency tenant=2 --unique once -- true",
        "submit -f job.json",
        "submit -f - --progress --addr a:1,b:2 --token-file t",
        "submit --at 2026-11-23T02:00:00Z --cwd /srv --name x --stdin - --follow -- cat",
        "jobs --state failed --label a=b -o jsonl",
        "job last -o json",
        "logs -f last --stream stderr",
        "cancel 0196 last --reason why",
        "retry 0196",
        "wait last 0196-3",
        "nodes -o quiet",
        "node show n1 -o json",
        "node drain n1",
        "node undrain n1",
        "node set n1 slots=4 label.gpu=yes",
        "submit --slots 2 --cpu 1.5 --memory 512MiB --placement pack -- true",
        "submit --placement every --wait -- hostname",
        "queues -o json",
        "queues ls",
        "queues set reports concurrency=4 rate=100/1s weight=2",
        "queues pause reports mail",
        "queues resume reports",
        "queues purge reports -o json",
        "cluster -o json status",
        "cluster handover --to n2",
        "cluster failovers --addr a:1",
        "doctor --data-dir d -o json",
        "top --every 2s --once",
        "config show --origin --config f -o jsonl",
        "completion bash",
        "man --dir d",
        "token create",
        "token create --role submit --name ci",
        "token ls",
        "token revoke 7f3a",
    ];
    for line in lines {
        let words = std::iter::once("relais").chain(line.split_whitespace());
        if let Err(error) = Cli::try_parse_from(words) {
            panic!("`relais {line}`: {error}");
        }
    }
}

#[test]
fn wrong_lines_are_refused_with_the_reason() {
    let table = [
        ("submit", "<COMMAND>"),
        ("submit --wait --follow -- true", "cannot be used with"),
        ("submit -f x --queue q", "cannot be used with"),
        ("submit -f x -- true", "cannot be used with"),
        ("submit -f x --follow", "cannot be used with"),
        ("submit --priority 101 -- true", "101 is not in 0..=100"),
        ("submit --timeout soon -- true", "`soon` is no duration, like \"90s\" or \"1h30m\""),
        ("submit --delay 1m --at 2026-11-23T02:00:00Z -- true", "cannot be used with"),
        ("submit --cpu all -- true", "no number of cores"),
        ("submit --memory 5GB -- true", "no size; write it like"),
        ("submit --at tomorrow -- true", "no RFC 3339 time"),
        ("submit --env TZ -- true", "no pair; write NAME=VALUE"),
        ("submit --key é -- true", "no key; use 1 to 200 printable ASCII"),
        ("job xyz", "no job id; give an id, the beginning of one, or `last`"),
        ("jobs --state done", "invalid value 'done'"),
        ("jobs --limit 501", "501 is not in 1..=500"),
        ("jobs --addr localhost", "no port in it; write HOST:PORT"),
        ("jobs -o xml", "invalid value 'xml'"),
        ("token revoke rl1.secret", "the secret itself is no id"),
        ("token create --role boss", "invalid value 'boss'"),
        ("dev --nodes 0", "0 is not in 1..=16"),
        ("frobnicate", "unrecognized subcommand 'frobnicate'"),
    ];
    for (line, expected) in table {
        let words = std::iter::once("relais").chain(line.split_whitespace());
        let error = match Cli::try_parse_from(words) {
            Ok(_) => panic!("`relais {line}` is accepted"),
            Err(error) => error,
        };
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(expected), "`relais {line}`: {error}");
    }
}
