//! A witness's memory. An allocator keeps arenas for threads, and learns to hold on to what was given back; both are
//! good for speed and cost a witness, which has little to do, a third of its memory. Allocators read what they may
//! from the environment once, before anything runs: so the process starts itself over, under the same pid, with that
//! said. An operator's own choice is left alone.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// To jemalloc: one arena for all threads, no caches of theirs, and what is free goes back at once. A busy node would
/// spend half as much CPU again on that.
const JEMALLOC: (&str, &str) = ("_RJEM_MALLOC_CONF", "narenas:1,tcache:false,dirty_decay_ms:0,muzzy_decay_ms:0");
/// To the C library, where it is the allocator: one arena for all threads.
const ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "1");
/// What is free at the end of the heap goes back, and blocks above 128 KiB always do.
const TRIM: (&str, &str) = ("MALLOC_TRIM_THRESHOLD_", "131072");

/// Starts this process over with a thrifty allocator, unless it has one. Returns if it has, or if it can't:
/// it then only takes more memory.
pub(crate) fn start_over_frugally() {
    if [JEMALLOC, ARENAS].iter().any(|(name, _)| std::env::var_os(name).is_some()) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let error = command.args(arguments).envs([JEMALLOC, ARENAS, TRIM]).exec();
    eprintln!("relais: the witness could not start over with less memory ({error}); it goes on as it is");
}
