//! Which request is which: method and path to a route. `:verb` suffixes are part of the last segment, so
//! the paths are taken apart here and not by patterns.

use super::leases::Verb;
use super::page::Wanted;
mod segment;
mod serving;

use segment::decoded;
use std::borrow::Cow;

/// A route, with what its path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Page(Wanted),
    Live,
    Ready,
    Metrics,
    Version,
    Description,
    Docs,
    Problems,
    Submit,
    SubmitBatch,
    Jobs,
    JobCount,
    JobsCancel,
    JobsRetry,
    Job(String),
    JobDelete(String),
    JobCancel(String),
    JobRetry(String),
    JobLogs(String),
    JobExplain(String),
    JobEvents(String),
    JobResult(String),
    Events,
    Group(String),
    GroupCancel(String),
    Nodes,
    Node(String),
    NodeSet(String),
    NodeDrain(String, bool),
    NodeDrill(String),
    Cluster,
    Failovers,
    Handover,
    Settings,
    SettingsChange,
    Journal,
    Recover,
    Tokens,
    TokenMake,
    TokenRevoke(String),
    Queues,
    Queue(String),
    QueueSet(String),
    QueuePause(String, bool),
    QueuePurge(String),
    Schedules,
    Schedule(String),
    ScheduleSet(String),
    ScheduleRemove(String),
    ScheduleTrigger(String),
    SchedulePause(String, bool),
    Firings(String),
    Lease,
    LeaseSay(String, Verb),
}

/// Why a request is none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoRoute {
    /// Nothing has this path.
    Unknown,
    /// It has other methods: these.
    Method(String),
}

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Needs {
    /// Nothing.
    Nothing,
    /// To read; for whoever asks from this machine, nothing.
    Metrics,
    /// To read.
    Read,
    /// To submit.
    Submit,
    /// Everything.
    Admin,
}

/// How many routes there are, for tables with one row each.
pub(super) const ROUTES: usize = 54;

impl Route {
    /// The route of a request.
    pub(super) fn of(method: &str, path: &str) -> Result<Self, NoRoute> {
        let method = if method == "HEAD" { "GET" } else { method };
        let path = path.strip_prefix('/').ok_or(NoRoute::Unknown)?;
        let parts: Option<Vec<Cow<'_, str>>> = path.split('/').map(decoded).collect();
        let parts = parts.ok_or(NoRoute::Unknown)?;
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        match parts.as_slice() {
            ["livez"] => pick(method, [("GET", Self::Live)]),
            ["readyz"] => pick(method, [("GET", Self::Ready)]),
            ["metrics"] => pick(method, [("GET", Self::Metrics)]),
            ["v1", rest @ ..] => Self::of_v1(method, rest),
            other => pick(method, [("GET", Self::Page(Wanted::of(other).ok_or(NoRoute::Unknown)?))]),
        }
    }

    fn of_v1(method: &str, parts: &[&str]) -> Result<Self, NoRoute> {
        match parts {
            ["openapi.json"] => pick(method, [("GET", Self::Description)]),
            ["docs"] => pick(method, [("GET", Self::Docs)]),
            ["problems"] => pick(method, [("GET", Self::Problems)]),
            ["version"] => pick(method, [("GET", Self::Version)]),
            ["jobs"] => pick(method, [("GET", Self::Jobs), ("POST", Self::Submit)]),
            ["jobs:batch"] => pick(method, [("POST", Self::SubmitBatch)]),
            ["jobs:cancel"] => pick(method, [("POST", Self::JobsCancel)]),
            ["jobs:retry"] => pick(method, [("POST", Self::JobsRetry)]),
            ["jobs:count"] => pick(method, [("GET", Self::JobCount)]),
            ["jobs", name, rest @ ..] if !name.is_empty() => Self::of_job(method, name, rest),
            ["groups", id] if !id.is_empty() => match id.rsplit_once(':') {
                Some((id, "cancel")) => pick(method, [("POST", Self::GroupCancel(id.to_owned()))]),
                Some(_) => Err(NoRoute::Unknown),
                None => pick(method, [("GET", Self::Group((*id).to_owned()))]),
            },
            ["nodes"] => pick(method, [("GET", Self::Nodes)]),
            ["nodes", name] if !name.is_empty() => match name.rsplit_once(':') {
                Some((name, "drain")) => pick(method, [("POST", Self::NodeDrain(name.to_owned(), true))]),
                Some((name, "undrain")) => pick(method, [("POST", Self::NodeDrain(name.to_owned(), false))]),
                Some((name, "drill")) => pick(method, [("POST", Self::NodeDrill(name.to_owned()))]),
                Some(_) => Err(NoRoute::Unknown),
                None => {
                    let name = || (*name).to_owned();
                    pick(method, [("GET", Self::Node(name())), ("PATCH", Self::NodeSet(name()))])
                }
            },
            ["queues"] => pick(method, [("GET", Self::Queues)]),
            ["queues", name] if !name.is_empty() => match name.rsplit_once(':') {
                Some((name, "pause")) => pick(method, [("POST", Self::QueuePause(name.to_owned(), true))]),
                Some((name, "resume")) => pick(method, [("POST", Self::QueuePause(name.to_owned(), false))]),
                Some((name, "purge")) => pick(method, [("POST", Self::QueuePurge(name.to_owned()))]),
                Some(_) => Err(NoRoute::Unknown),
                None => {
                    let name = || (*name).to_owned();
                    pick(method, [("GET", Self::Queue(name())), ("PUT", Self::QueueSet(name()))])
                }
            },
            ["events"] => pick(method, [("GET", Self::Events)]),
            ["cluster"] => pick(method, [("GET", Self::Cluster)]),
            ["cluster", "failovers"] => pick(method, [("GET", Self::Failovers)]),
            ["cluster", "settings"] => pick(method, [("GET", Self::Settings), ("PATCH", Self::SettingsChange)]),
            ["cluster", "journal"] => pick(method, [("GET", Self::Journal)]),
            ["cluster:recover"] => pick(method, [("POST", Self::Recover)]),
            ["cluster:handover"] => pick(method, [("POST", Self::Handover)]),
            ["tokens"] => pick(method, [("GET", Self::Tokens), ("POST", Self::TokenMake)]),
            ["tokens", id] if !id.is_empty() => pick(method, [("DELETE", Self::TokenRevoke((*id).to_owned()))]),
            ["leases"] => pick(method, [("POST", Self::Lease)]),
            ["leases", name] => match name.rsplit_once(':').map(|(id, word)| (id, Verb::parse(word))) {
                Some((id, Some(verb))) => pick(method, [("POST", Self::LeaseSay(id.to_owned(), verb))]),
                _ => Err(NoRoute::Unknown),
            },
            ["schedules"] => pick(method, [("GET", Self::Schedules)]),
            ["schedules", name, rest @ ..] if !name.is_empty() => Self::of_schedule(method, name, rest),
            _ => Err(NoRoute::Unknown),
        }
    }

    fn of_schedule(method: &str, name: &str, rest: &[&str]) -> Result<Self, NoRoute> {
        let own = || name.to_owned();
        match (name.rsplit_once(':'), rest) {
            (Some((name, "trigger")), []) => pick(method, [("POST", Self::ScheduleTrigger(name.to_owned()))]),
            (Some((name, "pause")), []) => pick(method, [("POST", Self::SchedulePause(name.to_owned(), true))]),
            (Some((name, "resume")), []) => pick(method, [("POST", Self::SchedulePause(name.to_owned(), false))]),
            (None, []) => {
                let all = [
                    ("GET", Self::Schedule(own())),
                    ("PUT", Self::ScheduleSet(own())),
                    ("DELETE", Self::ScheduleRemove(own())),
                ];
                pick(method, all)
            }
            (None, ["firings"]) => pick(method, [("GET", Self::Firings(own()))]),
            _ => Err(NoRoute::Unknown),
        }
    }

    fn of_job(method: &str, name: &str, rest: &[&str]) -> Result<Self, NoRoute> {
        let id = || name.to_owned();
        match (name.rsplit_once(':'), rest) {
            (Some((id, "cancel")), []) => pick(method, [("POST", Self::JobCancel(id.to_owned()))]),
            (Some((id, "retry")), []) => pick(method, [("POST", Self::JobRetry(id.to_owned()))]),
            (None, []) => pick(method, [("GET", Self::Job(id())), ("DELETE", Self::JobDelete(id()))]),
            (None, ["logs"]) => pick(method, [("GET", Self::JobLogs(id()))]),
            (None, ["events"]) => pick(method, [("GET", Self::JobEvents(id()))]),
            (None, ["result"]) => pick(method, [("GET", Self::JobResult(id()))]),
            (None, ["explain"]) => pick(method, [("GET", Self::JobExplain(id()))]),
            _ => Err(NoRoute::Unknown),
        }
    }

    /// What it asks of its caller.
    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::Page(_) | Self::Live | Self::Ready => Needs::Nothing,
            Self::Description | Self::Docs | Self::Problems => Needs::Nothing,
            Self::Metrics => Needs::Metrics,
            Self::JobEvents(_) | Self::JobResult(_) | Self::Group(_) | Self::Events => Needs::Read,
            Self::Version | Self::Jobs | Self::JobCount | Self::Job(_) | Self::JobLogs(_) | Self::JobExplain(_) => {
                Needs::Read
            }
            Self::Queues | Self::Queue(_) => Needs::Read,
            Self::QueueSet(_) | Self::QueuePause(..) | Self::QueuePurge(_) => Needs::Admin,
            Self::Nodes | Self::Node(_) | Self::Cluster | Self::Failovers | Self::Journal => Needs::Read,
            Self::JobsCancel | Self::JobsRetry | Self::GroupCancel(_) => Needs::Submit,
            Self::Schedules | Self::Schedule(_) | Self::Firings(_) => Needs::Read,
            Self::ScheduleSet(_) | Self::ScheduleRemove(_) | Self::ScheduleTrigger(_) => Needs::Submit,
            Self::SchedulePause(..) | Self::Lease | Self::LeaseSay(..) => Needs::Submit,
            Self::Submit | Self::SubmitBatch | Self::JobDelete(_) | Self::JobCancel(_) | Self::JobRetry(_) => {
                Needs::Submit
            }
            Self::NodeSet(_) | Self::NodeDrain(..) | Self::NodeDrill(_) | Self::Handover => Needs::Admin,
            Self::Settings | Self::SettingsChange | Self::Recover => Needs::Admin,
            Self::Tokens | Self::TokenMake | Self::TokenRevoke(_) => Needs::Admin,
        }
    }

    /// Its number, below [`ROUTES`], and its pattern: for counting.
    pub(super) fn named(&self) -> (usize, &'static str) {
        match self {
            Self::Page(_) => (0, "/"),
            Self::Live => (1, "/livez"),
            Self::Ready => (2, "/readyz"),
            Self::Metrics => (3, "/metrics"),
            Self::Version => (4, "/v1/version"),
            Self::Description => (51, "/v1/openapi.json"),
            Self::Docs => (52, "/v1/docs"),
            Self::Problems => (53, "/v1/problems"),
            Self::Submit => (5, "POST /v1/jobs"),
            Self::SubmitBatch => (6, "/v1/jobs:batch"),
            Self::Jobs => (7, "/v1/jobs"),
            Self::JobCount => (8, "/v1/jobs:count"),
            Self::Job(_) => (9, "/v1/jobs/{id}"),
            Self::JobDelete(_) => (10, "DELETE /v1/jobs/{id}"),
            Self::JobCancel(_) => (11, "/v1/jobs/{id}:cancel"),
            Self::JobRetry(_) => (12, "/v1/jobs/{id}:retry"),
            Self::JobLogs(_) => (13, "/v1/jobs/{id}/logs"),
            Self::JobEvents(_) => (43, "/v1/jobs/{id}/events"),
            Self::JobResult(_) => (44, "/v1/jobs/{id}/result"),
            Self::Events => (45, "/v1/events"),
            Self::Group(_) => (49, "/v1/groups/{id}"),
            Self::GroupCancel(_) => (50, "/v1/groups/{id}:cancel"),
            Self::JobExplain(_) => (14, "/v1/jobs/{id}/explain"),
            Self::Nodes => (15, "/v1/nodes"),
            Self::Node(_) => (16, "/v1/nodes/{name}"),
            Self::NodeSet(_) => (48, "PATCH /v1/nodes/{name}"),
            Self::NodeDrain(..) => (17, "/v1/nodes/{name}:drain"),
            Self::Cluster => (18, "/v1/cluster"),
            Self::Failovers => (19, "/v1/cluster/failovers"),
            Self::Handover => (20, "/v1/cluster:handover"),
            Self::Tokens => (21, "/v1/tokens"),
            Self::TokenMake => (22, "POST /v1/tokens"),
            Self::TokenRevoke(_) => (23, "/v1/tokens/{id}"),
            Self::Settings => (24, "/v1/cluster/settings"),
            Self::SettingsChange => (25, "PATCH /v1/cluster/settings"),
            Self::NodeDrill(_) => (28, "/v1/nodes/{name}:drill"),
            Self::Journal => (26, "/v1/cluster/journal"),
            Self::JobsCancel => (34, "/v1/jobs:cancel"),
            Self::JobsRetry => (35, "/v1/jobs:retry"),
            Self::Recover => (27, "/v1/cluster:recover"),
            Self::Queues => (29, "/v1/queues"),
            Self::Queue(_) => (30, "/v1/queues/{name}"),
            Self::QueueSet(_) => (31, "PUT /v1/queues/{name}"),
            Self::QueuePause(..) => (32, "/v1/queues/{name}:pause"),
            Self::QueuePurge(_) => (33, "/v1/queues/{name}:purge"),
            Self::Schedules => (36, "/v1/schedules"),
            Self::Schedule(_) => (37, "/v1/schedules/{name}"),
            Self::ScheduleSet(_) => (38, "PUT /v1/schedules/{name}"),
            Self::ScheduleRemove(_) => (39, "DELETE /v1/schedules/{name}"),
            Self::ScheduleTrigger(_) => (40, "/v1/schedules/{name}:trigger"),
            Self::SchedulePause(..) => (41, "/v1/schedules/{name}:pause"),
            Self::Lease => (46, "/v1/leases"),
            Self::LeaseSay(..) => (47, "/v1/leases/{id}:verb"),
            Self::Firings(_) => (42, "/v1/schedules/{name}/firings"),
        }
    }
}

fn pick<const N: usize>(method: &str, offered: [(&str, Route); N]) -> Result<Route, NoRoute> {
    let mut methods: Vec<String> = Vec::new();
    for (offer, route) in offered {
        if offer == method {
            return Ok(route);
        }
        methods.push(offer.to_owned());
        if offer == "GET" {
            methods.push("HEAD".to_owned());
        }
    }
    Err(NoRoute::Method(methods.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_belong_to_the_last_segment() {
        let cases = [
            ("GET", "/", Route::Page(Wanted::Document(0))),
            ("HEAD", "/livez", Route::Live),
            ("POST", "/v1/jobs", Route::Submit),
            ("POST", "/v1/jobs:batch", Route::SubmitBatch),
            ("POST", "/v1/jobs%3Abatch", Route::SubmitBatch),
            ("GET", "/v1/jobs/0196", Route::Job("0196".into())),
            ("POST", "/v1/jobs/0196:cancel", Route::JobCancel("0196".into())),
            ("GET", "/v1/jobs/0196/logs", Route::JobLogs("0196".into())),
            ("POST", "/v1/nodes/a%20b:undrain", Route::NodeDrain("a b".into(), false)),
            ("PATCH", "/v1/nodes/n1", Route::NodeSet("n1".into())),
            ("DELETE", "/v1/tokens/7", Route::TokenRevoke("7".into())),
            ("PUT", "/v1/queues/a.b", Route::QueueSet("a.b".into())),
            ("POST", "/v1/queues/a.b:resume", Route::QueuePause("a.b".into(), false)),
            ("PUT", "/v1/schedules/a", Route::ScheduleSet("a".into())),
            ("POST", "/v1/schedules/a:resume", Route::SchedulePause("a".into(), false)),
            ("GET", "/v1/schedules/a/firings", Route::Firings("a".into())),
            ("POST", "/v1/leases", Route::Lease),
            ("POST", "/v1/leases/a.7:fail", Route::LeaseSay("a.7".into(), Verb::Fail)),
        ];
        for (method, path, route) in cases {
            assert_eq!(Route::of(method, path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn what_is_no_route_is_told_apart() {
        for path in [
            "",
            "/v1",
            "/v1/jobs/",
            "/v1/jobs/a:b",
            "/v1/jobs/a:cancel/logs",
            "/x",
            "/v1/nodes/%00",
            "/v1/leases/a:b",
            "/%",
        ] {
            assert_eq!(Route::of("GET", path), Err(NoRoute::Unknown), "{path}");
        }
        assert_eq!(Route::of("PUT", "/v1/jobs"), Err(NoRoute::Method("GET, HEAD, POST".into())));
        assert_eq!(Route::of("GET", "/v1/jobs/a:cancel"), Err(NoRoute::Method("POST".into())));
    }
}
