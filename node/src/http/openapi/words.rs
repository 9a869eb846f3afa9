//! The values that have a name in the description of the API: what may stand there, said once. A state, a duration or
//! the name of a queue is the same wherever it stands.
//!
//! Where the program has a list of them, it is taken from there.

use crate::http::view;
use relais_protocol::failover::Fate as Moved;
use relais_protocol::job::{AttemptOutcome, ErrorKind, StateName};
use relais_protocol::schedule::{Missed as MissedName, Overlap as OverlapName};
use relais_protocol::settings::Settings as All;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A schema from its JSON text: empty, which a test looks for, if it is none.
fn parsed(schema: Value) -> RefOr<Schema> {
    serde_json::from_value(schema).unwrap_or_default()
}

fn one_of(about: &str, words: &[&str]) -> Value {
    json!({"type": "string", "description": about, "enum": words})
}

fn text(about: &str, pattern: &str, example: &str) -> Value {
    json!({"type": "string", "description": about, "pattern": pattern, "example": example})
}

macro_rules! words {
    ($($name:ident = $schema:expr;)*) => {
        $(
            pub(in crate::http) enum $name {}
            words!(impl $name, stringify!($name), $schema);
        )*
    };
    (impl $type:path, $name:expr, $schema:expr) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                parsed($schema)
            }
        }

        impl ToSchema for $type {
            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
        }
    };
}

words! {
    State = one_of("Where a job stands; the last four are ends.", &StateName::ALL.map(StateName::as_str));
    Outcome = one_of("How an attempt ended.", &[
        AttemptOutcome::Succeeded, AttemptOutcome::Failed, AttemptOutcome::TimedOut, AttemptOutcome::Cancelled,
        AttemptOutcome::Lost,
    ].map(AttemptOutcome::as_str));
    ErrorType = one_of("What went wrong.", &[
        ErrorKind::Exit, ErrorKind::Signal, ErrorKind::Timeout, ErrorKind::Spawn, ErrorKind::Http, ErrorKind::Lost,
        ErrorKind::LostTooOften, ErrorKind::Cancelled, ErrorKind::Expired, ErrorKind::Dependency, ErrorKind::Worker,
        ErrorKind::WorkerFinal,
    ].map(ErrorKind::as_str));
    Fate = one_of("What became of a job that ran when the dispatcher went.",
        &[Moved::Open, Moved::Kept, Moved::Adopted, Moved::Retried, Moved::Duplicate].map(Moved::as_str));
    Missed = one_of("What is done with slots that nobody was there for: `skip` them, run `once`, or run `all`.",
        &MissedName::ALL.map(MissedName::as_str));
    Overlap = one_of("What is done when the job of an earlier slot has not ended: `allow` both, `forbid` the new one, \
        or `replace` the old one.", &OverlapName::ALL.map(OverlapName::as_str));
    FiringOutcome = one_of("What became of a slot.", &["fired", "skipped", "missed", "refused"]);
    OnDisconnect = one_of("What a node that is cut off does with the job.", &["stop", "continue"]);
    OnConflict = one_of("What is done when a job with this unique key is there.", &["return", "reject", "replace"]);
    OnLost = one_of("What is done when the node of an attempt is lost.", &["retry", "fail"]);
    Jitter = one_of("Whether waits between attempts are spread by chance.", &["full", "none"]);
    Condition = one_of("How the other job must end.", &["succeeded", "finished", "failed"]);
    Placement = one_of("Which of the nodes that fit: `spread` over all, `pack` on few, or `every` one of them once.",
        &["spread", "pack", "every"]);
    Durability = one_of("On how many disks what was acknowledged is: of a majority of voters, or of one node.",
        &["majority", "single"]);
    NoticeState = one_of("How far the message is.", &["pending", "delivered", "given_up"]);
    HeldBy = one_of("What keeps the whole queue from starting a job.", &["paused", "concurrency", "rate"]);
    NodeRole = one_of("What a node does.", &["dispatcher+worker", "worker", "witness"]);
    NodeStatus = one_of("How a node stands.",
        &["joining", "online", "suspect", "limited", "draining", "offline", "left"]);
    SlotsFrom = one_of("Where the number of slots is from: set by PATCH, given at the start, or derived from cores \
        and memory.", &["set", "start", "derived"]);
    ActorName = one_of("Which actor or thread.",
        &["dispatcher", "worker", "election", "notebook", "net", "journal"]);
    ClusterStatus = one_of("How the cluster stands.", &["running", "running (limited)", "no dispatcher", "offline"]);
    ClusterMode = one_of("How it decides.", &["single", "pair", "witness", "quorum"]);
    OutputStream = one_of("Which output.", &["stdout", "stderr"]);
    TokenKind = one_of("`api` for this API, `join` for a node that is to join.", &["api", "join"]);
    TokenRole = one_of("What a token allows.", &["read", "submit", "admin"]);
    TokenRoleWanted = one_of("What the token is to allow; `join` is the same as kind `join`.",
        &["read", "submit", "admin", "join"]);
    Kind = text("`exec`, `http`, `noop`, `external`, or a kind that a node of yours offers.",
        "^(?!copy$)[a-z][a-z0-9._-]{0,63}$", "exec");
    QueueName = text("The name of a queue.", "^[a-z0-9][a-z0-9._-]{0,63}$", "default");
    NodeName = text("The name of a node.", "^[a-z0-9][a-z0-9._-]{0,62}$", "n1");
    Size = json!({"type": "string", "format": "relais-size", "pattern": "^[0-9]+(\\.[0-9]{1,3})?\\s*([KMGT]iB)?$",
        "description": "A size: KiB, MiB, GiB, TiB, or plain bytes.", "example": "512MiB"});
    Cron = json!({"type": "string", "format": "relais-cron", "maxLength": 200, "example": "0 30 2 * * *",
        "description": "Minute, hour, day, month and weekday, with seconds before them if need be."});
    TimeZone = json!({"type": "string", "format": "relais-time-zone", "example": "Europe/Paris",
        "description": "A name of the IANA time zone database."});
    FinalError = text("An end after which a job is not tried again: a type of error, `exit:CODE` or `worker:TYPE`.",
        "^(exit|signal|timeout|spawn|http|worker|exit:\\+?0*(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])|worker:[A-Za-z0-9._-]{1,64})$",
        "exit:2");
    Priority = json!({"type": "integer", "minimum": 0, "maximum": 100, "default": 50,
        "description": "Higher goes first."});
    Anything = json!({"type": "object", "description": "An object of your own, 64 KiB at most."});
    Labels = json!({"type": "object", "maxProperties": 16, "additionalProperties": {"type": "string", "maxLength": 200},
        "propertyNames": {"minLength": 1, "maxLength": 200}, "example": {"team": "data"},
        "description": "Labels by key. A key has no `:` or `=`, and nothing a control character."});
    Payload = json!({"description": "What the kind is given, 1 MiB at most: the shape belongs to the kind, and a kind \
        of your own may have any.", "anyOf": [{"$ref": "#/components/schemas/ExecPayload"},
        {"$ref": "#/components/schemas/HttpPayload"}, {"$ref": "#/components/schemas/NoopPayload"},
        {"type": ["object", "array", "string", "number", "boolean"]}]});
    ExecPayload = json!({"type": "object", "required": ["command"], "additionalProperties": false,
        "description": "Of a job of kind `exec`: a program, run without a shell.",
        "properties": {
            "command": {"type": "array", "minItems": 1, "items": {"type": "string"}, "example": ["echo", "hello"],
                "description": "The program and its arguments."},
            "env": {"type": ["object", "null"], "additionalProperties": {"type": "string"},
                "description": "What is added to its environment. Names that begin with RELAIS_ are taken."},
            "cwd": {"type": ["string", "null"], "pattern": "^/",
                "description": "Where it runs; in a fresh private folder if it does not say."},
            "stdin": {"type": ["string", "null"], "description": "What it reads on standard input."}}});
    HttpPayload = json!({"type": "object", "required": ["url"], "additionalProperties": false,
        "description": "Of a job of kind `http`: a request; an answer of 2xx is a success.",
        "properties": {
            "method": {"type": ["string", "null"], "default": "GET",
                "enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", null]},
            "url": {"type": "string", "format": "uri", "description": "With scheme http or https."},
            "headers": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
            "body": {"description": "A text is sent as it is, anything else as JSON."}}});
    NoopPayload = json!({"type": "object", "additionalProperties": false,
        "description": "Of a job of kind `noop`: nothing is done, for trials and benchmarks.",
        "properties": {
            "sleep": {"oneOf": [{"$ref": "#/components/schemas/Duration"}, {"type": "null"}],
                "description": "How long it takes."},
            "fail_times": {"type": ["integer", "null"], "minimum": 0, "maximum": 65535,
                "description": "How many attempts fail before one succeeds."}}});
    JobSpecs = json!({"type": "array", "maxItems": 10_000, "items": {"$ref": "#/components/schemas/JobSpec"},
        "description": "Jobs to submit, 16 MiB together at most."});
    BatchResults = json!({"type": "object", "required": ["results", "durability"],
        "description": "What each item of a batch came to, in order.",
        "properties": {
            "results": {"type": "array", "items": {"$ref": "#/components/schemas/BatchResult"}},
            "durability": {"$ref": "#/components/schemas/Durability"}}});
    BatchResult = json!({"type": "object", "required": ["status"],
        "description": "The status that the item would have been answered with by itself, and its id or its problem.",
        "properties": {
            "status": {"type": "integer", "minimum": 200, "maximum": 599},
            "id": {"$ref": "#/components/schemas/Id"},
            "deduplicated": {"type": "boolean", "description": "There, and true, if the job was there before."},
            "problem": {"$ref": "#/components/schemas/Problem"}}});
    NodePatch = json!({"type": "object", "additionalProperties": false,
        "description": "What is named changes; null gives back what the node was started with.",
        "properties": {
            "slots": {"type": ["integer", "null"], "minimum": 0, "maximum": 100_000},
            "labels": {"type": ["object", "null"],
                "propertyNames": {"pattern": "^[a-z0-9][a-z0-9._/-]{0,62}$"},
                "additionalProperties": {"type": ["string", "null"], "maxLength": 200},
                "description": "A label that is null is one that the node bears no more. 16 labels at most."}}});
    Settings = settings(false);
    SettingsPatch = settings(true);
}

words!(
    impl view::Time,
    "Time",
    json!({"type": "string", "format": "date-time", "example": "2026-11-23T02:00:00.000Z",
    "description": "RFC 3339, from 1970 on; answers are in UTC with milliseconds."})
);
words!(
    impl view::Duration,
    "Duration",
    json!({"type": "string", "format": "relais-duration", "example": "1h30m",
    "pattern": "^\\s*([0-9]+(d|h|ms|m|s))+\\s*$",
    "description": "Days, hours, minutes, seconds and milliseconds, 100 years at most: `90s`, `1h30m`, `250ms`."})
);
words!(
    impl view::Id,
    "Id",
    json!({"type": "string", "format": "uuid",
    "example": "019aac5e-7d00-7c21-8c2f-4a4f0a2b6c11", "description": "Of a job or a group: a UUID of version 7."})
);

/// The cluster's settings; to be changed, each may be left out, and null is its default.
fn settings(to_change: bool) -> Value {
    let mut fields = Map::new();
    for key in All::KEYS {
        let (mut schema, about) = setting(key);
        if to_change {
            schema = json!({"anyOf": [schema, {"type": "null"}]});
        }
        schema["description"] = about.into();
        fields.insert(key.to_owned(), schema);
    }
    if to_change {
        return json!({"type": "object", "additionalProperties": false, "properties": fields,
            "description": "Settings to change: what is named changes, null gives back the default."});
    }
    json!({"type": "object", "required": All::KEYS, "properties": fields,
        "description": "The cluster's settings."})
}

fn setting(key: &str) -> (Value, &'static str) {
    let duration = || json!({"type": "string", "format": "relais-duration"});
    match key {
        "name" => (
            json!({"type": "string", "minLength": 1, "maxLength": 64, "pattern": "\\S"}),
            "The cluster's name, for people.",
        ),
        "takeover" => (
            json!({"type": "string", "pattern": "^(available|off|tiebreak:.+|fence:.+)$"}),
            "When the survivor of a pair takes over by itself: available, off, tiebreak:HOST:PORT or fence:COMMAND.",
        ),
        "takeover_after" => (duration(), "How long its peer must be gone before it does: 1s to 1h."),
        "lease" => (duration(), "How long a worker may run on after its last heartbeat: 2s to 5m."),
        "pair_lease" => (duration(), "The same in a pair: more than takeover_after and 2s."),
        "voters" => (json!({"type": "integer", "enum": [1, 3, 5, 7]}), "Voters, once there are as many nodes."),
        "replace_after" => (duration(), "How long a voter must be gone before its seat goes to another: 1s to 30d."),
        "drill" => (json!({"type": "boolean"}), "Whether `relais drill` may hurt this cluster."),
        "retention" => (duration(), "How long ended jobs are kept: 1s to 3650d."),
        "retention_count" => (
            json!({"type": "integer", "minimum": 1, "maximum": 1_000_000_000}),
            "How many ended jobs are kept at most, the newest.",
        ),
        _ => (duration(), "How much longer a job waits for each point of priority below 100: 1ms to 1d."),
    }
}
