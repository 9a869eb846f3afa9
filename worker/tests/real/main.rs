//! The worker's executors against real processes, real files and a real HTTP server on loopback.

mod exec;
mod http;
mod node;
mod noop;
mod output;
mod spawner;
mod stops;
