//! One operation of the API: what a method and a path take and give, to be written as OpenAPI. It says nothing that
//! the rest of the program knows already: the role that a route needs and the limit of its body are asked of [`Route`].

use super::parameter::{self, Parameter};
use super::shape::Shape;
use crate::http::route::{Needs, Route};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// One operation.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    id: &'static str,
    summary: &'static str,
    about: &'static str,
    pub(super) query: Vec<Parameter>,
    headers: Vec<Parameter>,
    takes: Option<Takes>,
    gives: Vec<Gives>,
    problems: BTreeSet<u16>,
}

struct Takes {
    content: Vec<(&'static str, Content)>,
    required: bool,
}

struct Gives {
    status: u16,
    about: &'static str,
    content: Vec<Content>,
    headers: Vec<&'static str>,
}

/// What a body is.
pub(super) enum Content {
    /// JSON of this shape.
    Json(Shape),
    /// JSON, one of these shapes.
    Either(Vec<Shape>),
    /// A JSON array of this shape.
    List(Shape),
    /// Any JSON.
    AnyJson,
    /// A problem document.
    Problem,
    /// Plain text.
    Text,
    /// A page.
    Html,
    /// Server-sent events by name, each with the shape of its data.
    Events(Vec<(&'static str, Shape)>),
}

impl Content {
    fn media_type(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::Either(_) | Self::List(_) | Self::AnyJson => "application/json",
            Self::Problem => "application/problem+json",
            Self::Text => "text/plain",
            Self::Html => "text/html",
            Self::Events(_) => "text/event-stream",
        }
    }

    fn shapes(&self) -> Vec<Shape> {
        match self {
            Self::Json(shape) | Self::List(shape) => vec![*shape],
            Self::Either(shapes) => shapes.clone(),
            Self::Events(events) => events.iter().map(|(_, shape)| *shape).collect(),
            Self::AnyJson | Self::Problem | Self::Text | Self::Html => Vec::new(),
        }
    }

    fn schema(&self) -> Value {
        match self {
            Self::Json(shape) => shape.reference(),
            Self::Either(shapes) => json!({"anyOf": shapes.iter().map(Shape::reference).collect::<Vec<_>>()}),
            Self::List(shape) => json!({"type": "array", "items": shape.reference()}),
            Self::AnyJson => json!({}),
            Self::Problem => json!({"$ref": "#/components/schemas/Problem"}),
            Self::Text | Self::Html => json!({"type": "string"}),
            Self::Events(events) => {
                let events: Map<String, Value> =
                    events.iter().map(|(name, shape)| ((*name).to_owned(), shape.reference())).collect();
                json!({"type": "object", "description": "Each server-sent event. `x-events` has the shape of its data by name.",
                    "properties": {"id": {"type": "string"}, "event": {"type": "string"},
                        "data": {"type": "string", "contentMediaType": "application/json"}},
                    "x-events": events})
            }
        }
    }
}

/// An operation with its name and one line on it.
pub(super) fn operation(
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    let (about, query, headers, gives) = ("", Vec::new(), Vec::new(), Vec::new());
    Operation { method, path, id, summary, about, query, headers, takes: None, gives, problems: BTreeSet::new() }
}

impl Operation {
    /// With more to say of it.
    pub(super) fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// With query parameters.
    pub(super) fn query(mut self, parameters: &[Parameter]) -> Self {
        self.query.extend(parameters);
        self
    }

    /// With request headers.
    pub(super) fn header(mut self, parameters: &[Parameter]) -> Self {
        self.headers.extend(parameters);
        self
    }

    /// With a body that has to be there.
    pub(super) fn takes(mut self, shape: Shape) -> Self {
        self.takes = Some(Takes { content: vec![("application/json", Content::Json(shape))], required: true });
        self
    }

    /// With a body that may be left out.
    pub(super) fn may_take(mut self, shape: Shape) -> Self {
        self.takes = Some(Takes { content: vec![("application/json", Content::Json(shape))], required: false });
        self
    }

    /// That takes the body as NDJSON, too.
    pub(super) fn or_lines(mut self) -> Self {
        if let Some(takes) = &mut self.takes {
            takes.content.push(("application/x-ndjson", Content::Text));
        }
        self
    }

    /// With an answer.
    pub(super) fn gives(mut self, status: u16, content: Content, about: &'static str) -> Self {
        match self.gives.iter_mut().find(|gives| gives.status == status) {
            Some(gives) => gives.content.push(content),
            None => self.gives.push(Gives { status, about, content: vec![content], headers: Vec::new() }),
        }
        self
    }

    /// With an answer that has no body.
    pub(super) fn gives_nothing(mut self, about: &'static str) -> Self {
        self.gives.push(Gives { status: 204, about, content: Vec::new(), headers: Vec::new() });
        self
    }

    /// With headers of the answer just named.
    pub(super) fn bearing(mut self, headers: &[&'static str]) -> Self {
        if let Some(last) = self.gives.last_mut() {
            last.headers.extend(headers);
        }
        self
    }

    /// With statuses of problems beyond those that follow from what it is.
    pub(super) fn or(mut self, statuses: &[u16]) -> Self {
        self.problems.extend(statuses);
        self
    }

    /// A path that this operation is asked for at.
    pub(super) fn sample_path(&self) -> String {
        self.path.replace("{id}", "0196").replace("{name}", "a")
    }

    /// The route that serves it.
    pub(super) fn route(&self) -> Option<Route> {
        Route::of(self.method, &self.sample_path()).ok()
    }

    fn needs(&self) -> Needs {
        self.route().map_or(Needs::Admin, |route| route.needs())
    }

    /// What each shape is that it speaks of.
    pub(super) fn shapes(&self) -> Vec<Shape> {
        let taken = self.takes.iter().flat_map(|takes| takes.content.iter().map(|(_, content)| content));
        let given = self.gives.iter().flat_map(|gives| &gives.content);
        taken.chain(given).flat_map(Content::shapes).collect()
    }

    /// All statuses that it answers with a problem.
    pub(super) fn problem_statuses(&self) -> BTreeSet<u16> {
        let mut statuses = self.problems.clone();
        statuses.insert(403);
        let needs = self.needs();
        if needs != Needs::Nothing {
            // The token is wanting, wrong, or asked of another node; and each route refuses parameters it has not.
            statuses.extend([400, 401, 429, 503]);
        }
        if self.method != "GET" {
            statuses.insert(507);
        }
        if self.path.contains('{') {
            statuses.insert(404);
        }
        if self.takes.is_some() {
            statuses.extend([400, 408, 413, 415]);
        }
        statuses
    }

    /// As an operation object.
    pub(super) fn to_json(&self) -> Value {
        let mut parameters: Vec<Value> = parameter::in_path(self.path).iter().map(|one| one.to_json("path")).collect();
        parameters.extend(self.query.iter().map(|one| one.to_json("query")));
        let unchanged = self.may_be_unchanged().then_some(&parameter::IF_NONE_MATCH);
        let headers = self.headers.iter().chain(unchanged).chain([&parameter::REQUEST_ID]);
        parameters.extend(headers.map(|one| one.to_json("header")));
        let mut object = json!({
            "operationId": self.id,
            "summary": self.summary,
            "tags": [self.tag()],
            "responses": self.responses(),
        });
        let about = self.description();
        if !about.is_empty() {
            object["description"] = about.into();
        }
        if !parameters.is_empty() {
            object["parameters"] = parameters.into();
        }
        if let Some(takes) = &self.takes {
            let content: Map<String, Value> =
                takes.content.iter().map(|(kind, content)| described(kind, content)).collect();
            object["requestBody"] = json!({"required": takes.required, "content": content});
        }
        if self.needs() != Needs::Nothing {
            object["security"] = json!([{"token": []}, {}]);
            object["x-role"] = role(self.needs()).into();
        }
        object
    }

    /// The first word of its path after the version.
    fn tag(&self) -> &'static str {
        let rest = self.path.strip_prefix("/v1/").unwrap_or("node");
        rest.split(['/', ':']).next().unwrap_or(rest)
    }

    fn description(&self) -> String {
        let needs = match self.needs() {
            Needs::Nothing => String::new(),
            Needs::Metrics => "Needs a token of role `read`, unless asked from the node's own machine.".to_owned(),
            needs => format!("Needs a token of role `{}`, once the cluster has tokens.", role(needs)),
        };
        [self.about, needs.as_str()].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
    }

    fn responses(&self) -> Value {
        let mut responses = Map::new();
        for gives in &self.gives {
            let content: Map<String, Value> =
                gives.content.iter().map(|content| described(content.media_type(), content)).collect();
            let mut response = json!({"description": gives.about, "headers": self.headers_of(gives)});
            if !content.is_empty() {
                response["content"] = content.into();
            }
            responses.insert(gives.status.to_string(), response);
        }
        if self.may_be_unchanged() {
            let headers = headers(parameter::ALWAYS.into_iter().chain(["ETag"]));
            let about = "What `If-None-Match` names is still so; there is no body.";
            responses.insert("304".to_owned(), json!({"description": about, "headers": headers}));
        }
        for status in self.problem_statuses() {
            let reference = json!({"$ref": format!("#/components/responses/Problem{status}")});
            responses.entry(status.to_string()).or_insert(reference);
        }
        responses.into()
    }

    fn headers_of(&self, gives: &Gives) -> Map<String, Value> {
        let stale = self.query.iter().any(|one| one.name == "consistency").then_some("Relais-Staleness-Ms");
        let tag = (gives.status == 200 && self.may_be_unchanged()).then_some("ETag");
        headers(parameter::ALWAYS.into_iter().chain(stale).chain(tag).chain(gives.headers.iter().copied()))
    }

    /// Whether a client that has the answer already can be told so: what is read whole, and no stream.
    fn may_be_unchanged(&self) -> bool {
        let mut good = self.gives.iter().filter(|gives| gives.status == 200);
        self.method == "GET" && good.any(|gives| !matches!(gives.content[..], [Content::Events(_)]))
    }
}

fn headers(names: impl Iterator<Item = &'static str>) -> Map<String, Value> {
    names.map(|name| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")}))).collect()
}

fn described(media_type: &str, content: &Content) -> (String, Value) {
    (media_type.to_owned(), json!({"schema": content.schema()}))
}

fn role(needs: Needs) -> &'static str {
    match needs {
        Needs::Nothing => "none",
        Needs::Metrics | Needs::Read => "read",
        Needs::Submit => "submit",
        Needs::Admin => "admin",
    }
}
