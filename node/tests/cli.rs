//! The program as its users meet it: exit codes, outputs and messages, against a fake node.

#[path = "cli/fake.rs"]
mod fake;

#[path = "cli/errors.rs"]
mod errors;
#[path = "cli/journal.rs"]
mod journal;
#[path = "cli/look.rs"]
mod look;
#[path = "cli/submit.rs"]
mod submit;
#[path = "cli/waiting.rs"]
mod waiting;
