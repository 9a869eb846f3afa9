//! The operations on the cluster, its nodes and tokens, the stream of events, and the probes.

use super::operation::{Content, Operation, operation};
use super::parameter::{CONSISTENCY, FOLLOW, JOB, LAST_EVENT_ID, TYPES, VERBOSE};
use super::shape::{Shape, shape};
use super::words;
use crate::http::cluster::{ClusterView, HandedOver, HandoverBody};
use crate::http::drill::{Body, Struck};
use crate::http::failovers::Failovers;
use crate::http::feed::Data;
use crate::http::nodes::{NodeView, Nodes};
use crate::http::probes::{Fitness, Version};
use crate::http::recover::{JournalView, PlanView, RecoverBody, Recovered};
use crate::http::tokens::{TokenBody, TokenView, Tokens};

/// All of them.
pub(super) fn operations() -> Vec<Operation> {
    [nodes(), cluster(), rescue(), tokens(), probes(), documents()].into_iter().flatten().collect()
}

fn json(shape: Shape) -> Content {
    Content::Json(shape)
}

fn nodes() -> Vec<Operation> {
    let node = || json(shape::<NodeView>());
    vec![
        operation("GET", "/v1/nodes", "listNodes", "The node table").query(&[CONSISTENCY]).gives(
            200,
            json(shape::<Nodes>()),
            "All nodes, with their live figures.",
        ),
        operation("GET", "/v1/nodes/{name}", "showNode", "A node").query(&[CONSISTENCY]).gives(
            200,
            node(),
            "The node.",
        ),
        operation("PATCH", "/v1/nodes/{name}", "setNode", "Set slots and labels of a node")
            .takes(shape::<words::NodePatch>())
            .gives(200, node(), "The node.")
            .or(&[409]),
        operation("POST", "/v1/nodes/{name}:drain", "drainNode", "Give a node no new jobs").gives(
            200,
            node(),
            "The node.",
        ),
        operation("POST", "/v1/nodes/{name}:undrain", "undrainNode", "Give a node new jobs again").gives(
            200,
            node(),
            "The node.",
        ),
        operation("POST", "/v1/nodes/{name}:drill", "drillNode", "Have a node do a fault to itself")
            .about("Refused unless the setting `drill` is on.")
            .takes(shape::<Body>())
            .gives(202, json(shape::<Struck<'_>>()), "It happens in a moment.")
            .or(&[409]),
    ]
}

fn cluster() -> Vec<Operation> {
    let settings = || json(shape::<words::Settings>());
    vec![
        operation("GET", "/v1/cluster", "showCluster", "How the cluster stands")
            .about("Never waits for the dispatcher: whether there is one is what is asked.")
            .query(&[CONSISTENCY])
            .gives(200, json(shape::<ClusterView>()), "The cluster."),
        operation("GET", "/v1/cluster/failovers", "listFailovers", "The failovers, newest first")
            .query(&[CONSISTENCY])
            .gives(200, json(shape::<Failovers>()), "Each with its phases and the jobs that it touched."),
        operation("POST", "/v1/cluster:handover", "handOver", "Hand the role of dispatcher over")
            .may_take(shape::<HandoverBody>())
            .gives(200, json(shape::<HandedOver>()), "To whom.")
            .or(&[409]),
        operation("GET", "/v1/cluster/settings", "showSettings", "The cluster's settings")
            .query(&[CONSISTENCY])
            .gives(200, settings(), "All of them."),
        operation("PATCH", "/v1/cluster/settings", "changeSettings", "Change settings of the cluster")
            .about("One wrong value, and nothing changes.")
            .takes(shape::<words::SettingsPatch>())
            .gives(200, settings(), "All of them, as they are now."),
        operation("GET", "/v1/events", "listEvents", "What happens in the cluster, as it happens")
            .about(
                "Each event has an id that is valid at every node. A client that comes back with `Last-Event-ID` within \
                 an hour misses nothing; otherwise it gets one event `reset`: look at the state anew.",
            )
            .query(&[TYPES, JOB, FOLLOW])
            .header(&[LAST_EVENT_ID])
            .gives(200, Content::Events(EVENTS.map(|name| (name, shape::<Data<'_>>())).to_vec()), "The events."),
    ]
}

/// The events of the feed. One of `job.STATE` is there for each state.
const EVENTS: [&str; 11] = [
    "job.STATE",
    "job.attempt_started",
    "job.attempt_lost",
    "job.cancel_requested",
    "job.forgotten",
    "group.changed",
    "node.changed",
    "schedule.changed",
    "cluster.dispatcher",
    "cluster.taken_over",
    "cluster.healed",
];

fn rescue() -> Vec<Operation> {
    vec![
        operation("GET", "/v1/cluster/journal", "showJournal", "What the journal of this node holds").gives(
            200,
            json(shape::<JournalView>()),
            "Its journal.",
        ),
        operation("POST", "/v1/cluster:recover", "recoverCluster", "Go on without voters that are lost for good")
            .about("With `dry_run` the plan alone. Needs no dispatcher: there is none when it is asked for.")
            .takes(shape::<RecoverBody>())
            .gives(
                200,
                Content::Either(vec![shape::<PlanView>(), shape::<Recovered>()]),
                "The plan, or the new dispatcher.",
            )
            .or(&[409]),
    ]
}

fn tokens() -> Vec<Operation> {
    vec![
        operation("GET", "/v1/tokens", "listTokens", "All tokens").query(&[CONSISTENCY]).gives(
            200,
            json(shape::<Tokens<'_>>()),
            "Without their secrets.",
        ),
        operation("POST", "/v1/tokens", "makeToken", "Make a token")
            .about("The secret is in this answer and nowhere else. With the first token, every request needs one.")
            .takes(shape::<TokenBody>())
            .gives(201, json(shape::<TokenView<'_>>()), "The token, with its secret.")
            .bearing(&["Location"])
            .or(&[409]),
        operation("DELETE", "/v1/tokens/{id}", "revokeToken", "Revoke a token").gives_nothing("It is good no more."),
    ]
}

fn probes() -> Vec<Operation> {
    vec![
        operation("GET", "/livez", "live", "Whether the process answers").gives(200, Content::Text, "It does."),
        operation("GET", "/readyz", "ready", "Whether the node is fit to serve")
            .query(&[VERBOSE])
            .gives(200, Content::Text, "It is; with `verbose` each part by itself.")
            .gives(200, json(shape::<Fitness>()), "")
            .gives(503, Content::Problem, "It is not.")
            .gives(503, json(shape::<Fitness>()), "")
            .or(&[400]),
        operation("GET", "/metrics", "metrics", "Figures of this node for Prometheus").gives(
            200,
            Content::Text,
            "In the text format.",
        ),
        operation("GET", "/v1/version", "version", "What this node is").gives(
            200,
            json(shape::<Version>()),
            "Its version.",
        ),
    ]
}

fn documents() -> Vec<Operation> {
    vec![
        operation("GET", "/", "page", "The page of this node").gives(200, Content::Html, "For people."),
        operation("GET", "/v1/openapi.json", "description", "This description of the API").gives(
            200,
            Content::AnyJson,
            "OpenAPI 3.1.",
        ),
        operation("GET", "/v1/docs", "docs", "This description as a page").gives(200, Content::Html, "For people."),
        operation("GET", "/v1/problems", "problems", "What each problem means, and what to do").gives(
            200,
            Content::Html,
            "For people; `/v1/problems#SLUG` is the one with the type `urn:relais:problem:SLUG`.",
        ),
    ]
}
