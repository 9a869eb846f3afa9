//! The parameters of the API: in the query, in the path, in headers, and the headers of answers.

use serde_json::{Map, Value, json};

/// A parameter.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    about: &'static str,
    schema: fn() -> Value,
}

const fn parameter(name: &'static str, about: &'static str, schema: fn() -> Value) -> Parameter {
    Parameter { name, about, schema }
}

impl Parameter {
    /// As a parameter object.
    pub(super) fn to_json(self, place: &str) -> Value {
        let mut object = json!({"name": self.name, "in": place, "description": self.about, "schema": (self.schema)()});
        if place == "path" {
            object["required"] = true.into();
        }
        object
    }
}

fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn any_text() -> Value {
    json!({"type": "string"})
}

fn switch() -> Value {
    json!({"type": "string", "enum": ["true", "false", "1", "0", ""]})
}

fn time() -> Value {
    named("Time")
}

fn duration() -> Value {
    named("Duration")
}

fn number(least: u64, most: u64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most})
}

fn one_of(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

/// Which jobs, in the order of the handlers' own list.
pub(super) const FILTER: [Parameter; 8] = [
    parameter(
        "state",
        "Jobs in any of these states; may stand several times, or have several with commas.",
        || json!({"type": "array", "items": named("State")}),
    ),
    parameter("queue", "Jobs of this queue.", || named("QueueName")),
    parameter(
        "label",
        "Jobs with this label, `KEY:VALUE`; may stand several times: all of them.",
        || json!({"type": "array", "items": {"type": "string", "pattern": ":"}}),
    ),
    parameter("name", "Jobs of this name.", any_text),
    parameter("node", "Jobs whose last attempt is on this node.", any_text),
    parameter("since", "Jobs that were made at this time or later.", time),
    parameter("until", "Jobs that were made before this time.", time),
    parameter("group", "Jobs of this group.", || named("Id")),
];
pub(super) const CURSOR: Parameter = parameter(
    "cursor",
    "`next_cursor` of the page before, as it is.",
    || json!({"type": "string", "pattern": "^c[0-9a-f]{32}$"}),
);
pub(super) const LIMIT: Parameter =
    parameter("limit", "Jobs on a page.", || json!({"type": "integer", "minimum": 1, "maximum": 500, "default": 50}));
pub(super) const CONSISTENCY: Parameter = parameter(
    "consistency",
    "`linearizable` shows all that was acknowledged before; `local` answers at once with what this node knows.",
    || json!({"type": "string", "enum": ["linearizable", "local"], "default": "linearizable"}),
);
pub(super) const WAIT: Parameter =
    parameter("wait", "How long to wait for the end, 10m at most; what it has come to by then is answered.", duration);
pub(super) const GROUP_BY: Parameter = parameter(
    "group_by",
    "What to count by.",
    || json!({"type": "string", "enum": ["state", "queue"], "default": "state"}),
);
pub(super) const DRY_RUN: Parameter = parameter("dry_run", "Only counts.", switch);
pub(super) const ALL: Parameter = parameter("all", "That every job is meant, where no filter is given.", switch);
pub(super) const ATOMIC: Parameter = parameter("atomic", "All or none: 1,000 jobs and 1 MiB at most.", switch);
pub(super) const VERBOSE: Parameter = parameter("verbose", "Each part by itself, as JSON.", switch);
pub(super) const STREAM: Parameter = parameter(
    "stream",
    "Which output; `merged` is the standard output and then the standard error.",
    || json!({"type": "string", "enum": ["stdout", "stderr", "merged"], "default": "merged"}),
);
pub(super) const ATTEMPT: Parameter =
    parameter("attempt", "Of which attempt; of the last if left out.", || number(1, u64::from(u16::MAX)));
pub(super) const OFFSET: Parameter =
    parameter("offset", "From this byte on; not beside `tail`.", || json!({"type": "integer", "minimum": 0}));
pub(super) const TAIL: Parameter =
    parameter("tail", "So many bytes from the end; not beside `offset`.", || json!({"type": "integer", "minimum": 0}));
pub(super) const FOLLOW_LOGS: Parameter =
    parameter("follow", "As it comes, as server-sent events, to the job's end.", switch);
pub(super) const FOLLOW: Parameter =
    parameter("follow", "`false` gives what is kept, and then ends; otherwise it goes on.", switch);
pub(super) const TYPES: Parameter = parameter(
    "types",
    "Kinds of events, with commas; all if left out.",
    || json!({"type": "string", "pattern": "^(job|node|cluster|schedule)?(,(job|node|cluster|schedule)?)*$"}),
);
pub(super) const JOB: Parameter = parameter("job", "Events of this job only.", || named("Id"));

pub(super) const IDEMPOTENCY_KEY: Parameter = parameter(
    "Idempotency-Key",
    "A text of your own, kept for 24 h: the same request under the same key is done once. Of a batch, 250 characters at \
     most: item *i* gets the key `K/i`.",
    || json!({"type": "string", "minLength": 1, "maxLength": 256}),
);
pub(super) const PREFER: Parameter =
    parameter("Prefer", "`return=minimal` answers with id and state alone.", || one_of(&["return=minimal"]));
pub(super) const TRACEPARENT: Parameter = parameter(
    "traceparent",
    "W3C trace context. Kept with each job as `metadata.traceparent`, unless that is there, and told to its attempts as \
     `TRACEPARENT`. One that is none is passed over.",
    any_text,
);
pub(super) const TRACESTATE: Parameter =
    parameter("tracestate", "What vendors add to `traceparent`, 512 characters at most.", any_text);
pub(super) const LAST_EVENT_ID: Parameter =
    parameter("Last-Event-ID", "The id of the last event that was seen: goes on after it.", any_text);

pub(super) const IF_NONE_MATCH: Parameter =
    parameter("If-None-Match", "The `ETag` of an answer that is there already: 304 if it is still so.", any_text);
pub(super) const REQUEST_ID: Parameter = parameter(
    "X-Request-Id",
    "An id of your own for the request, 1 to 128 printable ASCII characters: the answer bears it. Any other is replaced.",
    any_text,
);

/// The parameters in a path.
pub(super) fn in_path(path: &str) -> Vec<Parameter> {
    let one = match path {
        _ if !path.contains('{') => return Vec::new(),
        _ if path.starts_with("/v1/jobs/") => {
            parameter("id", "The id of a job, or a beginning of it that fits no other, 4 hex digits or more.", any_text)
        }
        _ if path.starts_with("/v1/groups/") => parameter("id", "The id of a group.", || named("Id")),
        _ if path.starts_with("/v1/tokens/") => {
            parameter("id", "The id of a token.", || json!({"type": "string", "pattern": "^[0-9a-f]{16}$"}))
        }
        _ if path.starts_with("/v1/leases/") => parameter("id", "The `lease_id` that was answered.", any_text),
        _ if path.starts_with("/v1/queues/") => parameter("name", "The name of a queue.", || named("QueueName")),
        _ if path.starts_with("/v1/nodes/") => parameter("name", "The name of a node.", || named("NodeName")),
        // A schedule's name is as a queue's.
        _ => parameter("name", "The name of a schedule.", || named("QueueName")),
    };
    vec![one]
}

/// Headers that every answer has.
pub(super) const ALWAYS: [&str; 5] =
    ["Relais-Generation", "Relais-Epoch", "Relais-Node", "Relais-Dispatcher", "X-Request-Id"];

/// Headers of answers by name.
pub(super) fn headers() -> Map<String, Value> {
    let header = |about: &str, schema: Value| json!({"description": about, "schema": schema});
    let count = || json!({"type": "integer", "minimum": 0});
    let rows = [
        ("Relais-Generation", header("The generation of the cluster's journal.", count())),
        ("Relais-Epoch", header("The highest epoch that the node knows.", count())),
        ("Relais-Node", header("The node that answered.", any_text())),
        ("Relais-Dispatcher", header("The dispatcher as the node knows it, or `none`.", any_text())),
        (
            "Relais-Staleness-Ms",
            header("There if the answer is read from this node alone: how old it may be, in ms.", count()),
        ),
        ("Relais-Attempt", header("The attempt that the output is of.", count())),
        ("Relais-Output-Total", header("Bytes that the output has in all.", count())),
        ("Relais-Output-Truncated", header("Whether output was dropped for its length.", one_of(&["true", "false"]))),
        ("X-Request-Id", header("The id of the request: the client's own, or one made up.", any_text())),
        ("ETag", header("Of this answer, for `If-None-Match`.", any_text())),
        ("Location", header("Where it is.", json!({"type": "string", "format": "uri-reference"}))),
        ("Retry-After", header("Seconds after which to try again.", count())),
        ("WWW-Authenticate", header("How to say who you are.", any_text())),
    ];
    rows.into_iter().map(|(name, header)| (name.to_owned(), header)).collect()
}
