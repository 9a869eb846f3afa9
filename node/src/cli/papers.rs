//! `relais completion` and `relais man`: what a package installs beside the binary, made from the commands themselves.

use super::Cli;
use super::failure::Failure;
use clap::CommandFactory;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Print the completion script of a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais completion bash > /etc/bash_completion.d/relais
  relais completion zsh > ~/.zfunc/_relais
  relais completion fish > ~/.config/fish/completions/relais.fish")]
pub(crate) struct Completion {
    /// The shell
    shell: clap_complete::Shell,
}

/// Print the manual, or write a page for each command
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais man | man -l -
  relais man --dir /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Write relais.1, relais-submit.1 and so on into this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Completion {
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "relais", &mut script);
        io::stdout().lock().write_all(&script)?;
        Ok(0)
    }
}

impl Man {
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let Some(dir) = &self.dir else {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            io::stdout().lock().write_all(&page)?;
            return Ok(0);
        };
        let failed = |error: io::Error| {
            Failure::Local(format!("can't write into {}: {error}; name another folder with --dir", dir.display()))
        };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let count = write_pages(dir).map_err(failed)?;
        eprintln!("relais: {count} pages in {}", dir.display());
        Ok(0)
    }
}

/// One page a command; how many there are.
fn write_pages(dir: &Path) -> io::Result<usize> {
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), dir)?;
    let pages = std::fs::read_dir(dir)?.filter_map(Result::ok);
    Ok(pages.filter(|entry| entry.file_name().to_string_lossy().starts_with("relais")).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in clap_complete::Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "relais", &mut script);
            let script = String::from_utf8(script).expect("text");
            for word in ["submit", "handover", "--follow"] {
                let bare = word.trim_start_matches("--");
                assert!(script.contains(bare), "{shell} does not know {word}");
            }
        }
    }

    #[test]
    fn each_command_has_a_page_with_its_example() {
        let folder = tempfile::tempdir().expect("a folder");
        let count = write_pages(folder.path()).expect("pages");
        assert!(count > 40, "{count}");
        let page = std::fs::read_to_string(folder.path().join("relais-cluster-handover.1")).expect("a page");
        assert!(page.contains("relais cluster handover") && page.contains("\\-\\-to"), "{page}");
    }
}
