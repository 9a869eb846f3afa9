//! Errors as RFC 9457 problem documents: what each is called, which status it has, what to do next.
//!
//! Types are stable: a client may compare them. The words of `detail` are for people and may change.

mod kind;

pub(super) use kind::Kind;

use super::answer::{Answer, Body};
use crate::backend::{NotFresh, ProposeFailed};
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use relais_protocol::record::Refusal;
use serde::Serialize;
use utoipa::ToSchema;

/// A refusal, ready to be sent. Boxed, because it travels in many `Result`s and is rare.
#[derive(Debug, Clone)]
pub(super) struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
    candidates: Vec<String>,
    retry_after_s: Option<u64>,
    allow: Option<String>,
    authenticate: bool,
}

/// One thing that is wrong with a body, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct FieldError {
    /// A JSON pointer.
    pub(super) pointer: String,
    /// What is expected there.
    pub(super) detail: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(in crate::http) struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[schema(value_type = Vec<FieldError>)]
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[schema(value_type = Vec<String>)]
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    candidates: &'a [String],
}

impl Problem {
    /// One of `kind`, with cause and next step in words.
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            candidates: Vec::new(),
            retry_after_s: retry_after_s(kind),
            allow: None,
            authenticate: kind == Kind::Unauthorized,
        }))
    }

    /// A body with wrong fields: at least one.
    pub(super) fn fields(errors: Vec<FieldError>) -> Self {
        Self::of_fields(Kind::InvalidBody, errors)
    }

    /// The same with another kind.
    pub(super) fn of_fields(kind: Kind, errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", shown(&one.pointer), one.detail),
            many => format!("{} fields are wrong; see `errors`", many.len()),
        };
        let mut problem = Self::new(kind, detail);
        problem.0.errors = errors;
        problem
    }

    /// One wrong field.
    pub(super) fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { pointer: pointer.into(), detail: detail.into() }])
    }

    /// No such job.
    pub(super) fn no_such_job(id: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no job `{id}`; GET /v1/jobs lists them"))
    }

    /// No such node.
    pub(super) fn no_such_node(name: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no node `{name}`; GET /v1/nodes lists them"))
    }

    /// No such schedule.
    pub(super) fn no_such_schedule(name: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no schedule `{name}`; GET /v1/schedules lists them"))
    }

    /// What is wrong with the fields, as far as it is about fields.
    pub(super) fn into_errors(self) -> Vec<FieldError> {
        if self.0.errors.is_empty() {
            return vec![FieldError { pointer: String::new(), detail: self.0.detail }];
        }
        self.0.errors
    }

    /// Seconds after which to try again.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// What a short id could have meant.
    pub(super) fn candidates(mut self, candidates: Vec<String>) -> Self {
        self.0.candidates = candidates;
        self
    }

    /// The methods that the route has.
    pub(super) fn allow(mut self, methods: String) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// As a problem of what stands under a pointer of the body.
    pub(super) fn under(mut self, pointer: &str) -> Self {
        for error in &mut self.0.errors {
            error.pointer.insert_str(0, pointer);
        }
        self
    }

    /// As a problem of item `place` of the body's array, which spoils all of it.
    pub(super) fn of_item(mut self, place: usize) -> Self {
        for error in &mut self.0.errors {
            error.pointer.insert_str(0, &format!("/{place}"));
        }
        self.0.detail = format!("item {place}: {}; the batch is atomic, none of it was taken", self.0.detail);
        self
    }

    /// Its status.
    pub(super) fn status(&self) -> u16 {
        self.0.kind.status()
    }

    /// Its JSON text.
    pub(super) fn to_json(&self, instance: Option<&str>) -> String {
        let kind = self.0.kind;
        let document = Document {
            kind: format!("urn:relais:problem:{}", kind.slug()),
            title: kind.title(),
            status: kind.status(),
            detail: &self.0.detail,
            instance,
            errors: &self.0.errors,
            candidates: &self.0.candidates,
        };
        serde_json::to_string(&document).unwrap_or_else(|_| "{}".to_owned())
    }

    /// The answer that says it.
    pub(super) fn into_answer(self, instance: &str) -> Answer {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let text = self.to_json(Some(instance));
        let mut answer = Answer::new(status, "application/problem+json", Body::Whole(text.into()));
        let mut header = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                answer.headers.push((name, value));
            }
        };
        if let Some(seconds) = self.0.retry_after_s {
            header(RETRY_AFTER, &seconds.to_string());
        }
        if let Some(methods) = &self.0.allow {
            header(ALLOW, methods);
        }
        if self.0.authenticate {
            header(WWW_AUTHENTICATE, "Bearer realm=\"relais\"");
        }
        answer
    }
}

/// Soon where something is about to be repaired by itself; later where somebody must do something.
fn retry_after_s(kind: Kind) -> Option<u64> {
    match kind {
        Kind::NoDispatcher | Kind::NotReady | Kind::OutOfReach => Some(1),
        Kind::DiskFull => Some(10),
        _ => None,
    }
}

fn shown(pointer: &str) -> &str {
    if pointer.is_empty() { "the body" } else { pointer }
}

impl From<ProposeFailed> for Problem {
    fn from(failed: ProposeFailed) -> Self {
        match failed {
            ProposeFailed::NoDispatcher(why) => Self::new(
                Kind::NoDispatcher,
                format!(
                    "there is no dispatcher: {why}; it is not known whether the request was carried out: send it \
                     again, a submit under the same Idempotency-Key makes no second job"
                ),
            ),
            ProposeFailed::DiskFull => Self::new(
                Kind::DiskFull,
                "so many voters have no disk space left that nothing can be stored; free some, GET /v1/nodes shows \
                 where. What was on its way when that came about may yet be carried out: send it again later, a \
                 submit under the same Idempotency-Key makes no second job",
            ),
        }
    }
}

impl From<NotFresh> for Problem {
    fn from(failed: NotFresh) -> Self {
        Self::new(
            Kind::NoDispatcher,
            format!("{failed}; try again soon, or read with ?consistency=local what this node knows"),
        )
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let conflict = |detail: String| Self::new(Kind::Conflict, detail);
        match refusal {
            Refusal::NoSuchJob => Self::new(Kind::NotFound, "there is no such job; GET /v1/jobs lists them"),
            Refusal::NoSuchNode => Self::new(Kind::NotFound, "there is no such node; GET /v1/nodes lists them"),
            Refusal::TokenUnknown => Self::new(Kind::NotFound, "there is no such token; GET /v1/tokens lists them"),
            Refusal::JobEnded(state) => {
                conflict(format!("the job has ended already, it is {}; nothing was changed", state.as_str()))
            }
            Refusal::JobNotEnded(state) => conflict(format!(
                "the job is {}; only one that is failed, cancelled or expired can be run again, only an ended one \
                 deleted",
                state.as_str()
            )),
            Refusal::KeyReused(job) => Self::new(
                Kind::KeyReused,
                format!("its idempotency key was used for job {job} with another body; choose another key"),
            ),
            Refusal::NoSuchParent(job) => Self::of_fields(
                Kind::NoSuchParent,
                vec![FieldError {
                    pointer: "/depends_on".to_owned(),
                    detail: format!("there is no job {job}; submit it first, or in the same batch under a `ref`"),
                }],
            ),
            Refusal::ParentEnded(job, state) => conflict(format!(
                "job {job}, which it depends on, is {}, so it could not run; run that one again first",
                state.as_str()
            )),
            Refusal::JobNeeded(child) => {
                conflict(format!("job {child} waits and depends on it; delete it once that one has ended"))
            }
            Refusal::UniqueHeld(job) => Self::of_fields(
                Kind::Conflict,
                vec![FieldError {
                    pointer: "/unique/key".to_owned(),
                    detail: format!("job {job} has this unique key; wait for its end, cancel it, or use another key"),
                }],
            ),
            Refusal::LeaseOver => conflict("the lease is over; stop this work, and ask for another job".to_owned()),
            Refusal::UnknownKind(kind) => Self::field(
                "/kind",
                format!(
                    "no node has ever offered the kind `{kind}`; every node has exec, http and noop, `external` is for \
                     workers that ask at /v1/leases, and a kind of your own needs a node that offers it"
                ),
            ),
            Refusal::NameTaken => conflict("another node has this name; choose another".to_owned()),
            Refusal::StaleReign
            | Refusal::StaleFence
            | Refusal::StaleIncarnation
            | Refusal::NotFounded
            | Refusal::SlotSettled => Self::new(
                Kind::NoDispatcher,
                "the dispatcher changed while the request was on its way; nothing was done, send it again",
            ),
            Refusal::NoSuchSchedule => {
                Self::new(Kind::NotFound, "there is no such schedule; GET /v1/schedules lists them")
            }
            Refusal::TooManySchedules => {
                conflict("there are as many schedules as there can be; remove some".to_owned())
            }
            Refusal::Overlaps(job) => conflict(format!(
                "job {job} of this schedule has not ended, and `overlap` is `forbid`; wait for it, or cancel it"
            )),
            of_group => Self::of_group(of_group),
        }
    }
}

impl Problem {
    /// Why a group, or one of its members, is not to be had or changed.
    fn of_group(refusal: Refusal) -> Self {
        let conflict = |detail: String| Self::new(Kind::Conflict, detail);
        match refusal {
            Refusal::NoSuchGroup => Self::new(Kind::NotFound, "there is no such group; a job's `group` names its own"),
            Refusal::GroupEnded(state) => {
                conflict(format!("the group has ended already, it is {}; nothing was changed", state.as_str()))
            }
            Refusal::GroupGoesOn(group) => conflict(format!(
                "its group {group} has not ended, or its idempotency key still stands: all members are kept until then"
            )),
            Refusal::NotMade(group) => conflict(format!(
                "it is still to be put in line, after other members of group {group}; try again when it is there, or \
                 cancel the group"
            )),
            Refusal::NoNodeMatches => conflict(
                "no node that takes work has what it requires; GET /v1/nodes shows their slots and labels".to_owned(),
            ),
            Refusal::GroupIdTaken => conflict("jobs are in the way of the group's id; send it again".to_owned()),
            other => Self::new(Kind::Internal, format!("a group was refused with {other:?}")),
        }
    }
}
