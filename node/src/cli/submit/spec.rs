//! The flags that describe one `exec` job, and the job spec they make.
//!
//! They are checked as far as the command line alone can tell; the rest is the server's to say.

use crate::cli::failure::Failure;
use crate::cli::filter::time;
use relais_protocol::group::MEMBERS_MAX;
use relais_protocol::time::parse_duration_ms;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

const STDIN_BYTES_MAX: u64 = 1 << 20;

/// What the job is besides its command.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(id = "spec_flags", multiple = true)]
pub(crate) struct Flags {
    /// The line it stands in
    #[arg(long)]
    queue: Option<String>,
    /// 0 to 100, higher first
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(0..=100))]
    priority: Option<u8>,
    /// End each attempt after this time
    #[arg(long, value_name = "DURATION", value_parser = duration_text)]
    timeout: Option<String>,
    /// How many times to try again after a failure
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    retries: Option<u16>,
    /// A variable of the command's environment
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// A label of the job, to find it by
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// At most so many jobs with this key run at once, one if no limit is given
    #[arg(long, value_name = "KEY[=LIMIT]", value_parser = limited)]
    concurrency: Option<(String, u32)>,
    /// While another job with this key has not ended, that one is meant, and none is made
    #[arg(long, value_name = "KEY")]
    unique: Option<String>,
    /// Run it only on nodes with this label
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    require: Vec<(String, String)>,
    /// How many slots it takes
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    slots: Option<u16>,
    /// How many cores its node must have left for it
    #[arg(long, value_name = "CORES", value_parser = cores)]
    cpu: Option<f64>,
    /// How much memory its node must have left for it
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<String>,
    /// Which of the nodes that fit: the least loaded (spread), the most loaded (pack), or once on each (every)
    #[arg(long, value_name = "WAY", value_parser = ["spread", "pack", "every"])]
    placement: Option<String>,
    /// Run it no sooner than after this time
    #[arg(long, value_name = "DURATION", value_parser = duration_text, conflicts_with = "at")]
    delay: Option<String>,
    /// Run it no sooner than at this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<String>,
    /// The folder to run in; without it, a fresh private one
    #[arg(long, value_name = "FOLDER")]
    cwd: Option<String>,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// Run it so many times at once, as one group; each run gets its number in RELAIS_ARRAY_INDEX
    #[arg(long, value_name = "FIRST-LAST|COUNT", value_parser = array)]
    array: Option<(u32, u32)>,
    /// Give the group up once more runs of it than this have failed
    #[arg(long, value_name = "NUMBER", requires = "array")]
    max_failures: Option<u32>,
    /// A file to give the command as standard input; `-` is our own
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
}

impl Flags {
    /// The job spec for `command`.
    ///
    /// # Errors
    /// When the file for standard input can't be read, or is too long or no text.
    pub(crate) fn json(&self, command: &[String]) -> Result<Value, Failure> {
        let mut payload = Map::new();
        payload.insert("command".to_owned(), json!(command));
        put_pairs(&mut payload, "env", &self.env);
        put(&mut payload, "cwd", self.cwd.as_deref());
        if let Some(path) = &self.stdin {
            payload.insert("stdin".to_owned(), Value::String(standard_input(path)?));
        }
        let mut job = Map::new();
        job.insert("kind".to_owned(), json!("exec"));
        job.insert("payload".to_owned(), Value::Object(payload));
        put(&mut job, "name", self.name.as_deref());
        put(&mut job, "queue", self.queue.as_deref());
        put(&mut job, "priority", self.priority);
        put(&mut job, "timeout", self.timeout.as_deref());
        put(&mut job, "delay", self.delay.as_deref());
        put(&mut job, "run_at", self.at.as_deref());
        put_pairs(&mut job, "labels", &self.label);
        put(
            &mut job,
            "concurrency",
            self.concurrency.as_ref().map(|(key, limit)| json!({ "key": key, "limit": limit })),
        );
        put(&mut job, "unique", self.unique.as_ref().map(|key| json!({ "key": key })));
        if let Some((first, count)) = self.array {
            let mut array = Map::from_iter([("count".to_owned(), json!(count)), ("first".to_owned(), json!(first))]);
            put(&mut array, "max_failures", self.max_failures);
            job.insert("array".to_owned(), Value::Object(array));
        }
        if let Some(retries) = self.retries {
            job.insert("retry".to_owned(), json!({ "max_attempts": u32::from(retries) + 1 }));
        }
        let mut requires = Map::new();
        put(&mut requires, "slots", self.slots);
        put(&mut requires, "cpu", self.cpu);
        put(&mut requires, "memory", self.memory.as_deref());
        put_pairs(&mut requires, "labels", &self.require);
        if !requires.is_empty() {
            job.insert("requires".to_owned(), Value::Object(requires));
        }
        put(&mut job, "placement", self.placement.as_deref());
        Ok(Value::Object(job))
    }
}

fn put(object: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), value.into());
    }
}

fn put_pairs(object: &mut Map<String, Value>, key: &str, pairs: &[(String, String)]) {
    if !pairs.is_empty() {
        let map: Map<String, Value> = pairs.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        object.insert(key.to_owned(), Value::Object(map));
    }
}

fn standard_input(path: &Path) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::Usage(format!("can't read {} for --stdin: {error}; name a readable file", path.display()))
    };
    let mut bytes = Vec::new();
    let limit = STDIN_BYTES_MAX + 1;
    if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > STDIN_BYTES_MAX {
        let text = "the standard input is longer than 1 MiB; put it into a file that the job reads";
        return Err(Failure::Usage(text.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| {
        Failure::Usage("the standard input is no UTF-8 text; put it into a file that the job reads".to_owned())
    })
}

/// `KEY` or `KEY=LIMIT`; what stands after the last `=` is a limit only if it is a number.
fn limited(text: &str) -> Result<(String, u32), String> {
    let with_limit = text.rsplit_once('=').and_then(|(key, limit)| Some((key.to_owned(), limit.parse().ok()?)));
    match with_limit.unwrap_or_else(|| (text.to_owned(), 1)) {
        (key, _) if key.is_empty() => Err("no key; write KEY or KEY=LIMIT".to_owned()),
        (_, 0) => Err("a limit of 0 would let none run; give 1 or more".to_owned()),
        limited => Ok(limited),
    }
}

fn cores(text: &str) -> Result<f64, String> {
    relais_protocol::size::parse_cores(text).map(|millis| f64::from(millis) / 1_000.0)
}

fn size(text: &str) -> Result<String, String> {
    relais_protocol::size::parse_bytes(text).map(|_| text.to_owned())
}

/// `FIRST-LAST`, both included, or a count from 0: the first number, and how many.
fn array(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| text.parse::<u32>().map_err(|_| "no array; write FIRST-LAST or COUNT".to_owned());
    let (first, count) = match text.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (first, last.checked_sub(first).map_or(0, |more| more.saturating_add(1)))
        }
        None => (0, number(text)?),
    };
    if (1..=MEMBERS_MAX).contains(&count) {
        Ok((first, count))
    } else {
        Err(format!("an array has 1 to {MEMBERS_MAX} jobs"))
    }
}

fn duration_text(text: &str) -> Result<String, String> {
    parse_duration_ms(text).map(|_| text.trim().to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("no pair; write NAME=VALUE".to_owned()),
    }
}
