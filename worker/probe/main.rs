//! A stand-in for the `relais` binary in this crate's tests: it can be the spawner process, or a node
//! that holds one and is then killed. It refuses to do anything else.

use relais_worker::spawner::{Spawner, Start};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("__spawner") => relais_worker::spawner::main(),
        Some("hold") => hold(&args[2..]),
        _ => {
            eprintln!("usage: relais-worker-probe __spawner | hold COMMAND…");
            ExitCode::from(2)
        }
    }
}

/// Runs `command` under a spawner, as a node would, until somebody kills this process.
fn hold(command: &[String]) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let ended = runtime.block_on(async {
        let spawner = Spawner::start(std::env::current_exe()?, vec!["__spawner".to_owned()])?;
        let nowhere = || std::fs::File::options().write(true).open("/dev/null");
        let start = Start {
            program: PathBuf::from(&command[0]),
            argv: command.to_vec(),
            env: std::env::vars().collect(),
            cwd: std::env::current_dir()?,
            stdin: None,
            stdout: nowhere()?.into(),
            stderr: nowhere()?.into(),
            leased: false,
        };
        spawner.run(start).exit().await.map_err(std::io::Error::other)
    });
    match ended {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
