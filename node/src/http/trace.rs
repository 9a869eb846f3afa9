//! The trace that a request belongs to, taken in by `traceparent` and `tracestate` and kept in the metadata of the
//! jobs that it submits. A header that is none is passed over. It is no part of what an idempotency key stands for: a
//! request that is sent again belongs to another span.

use super::spec::METADATA_BYTES_MAX;
use actix_web::http::header::HeaderMap;
use relais_protocol::spec::JobSpec;
use relais_protocol::trace::Trace;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

/// The trace of a request, if it says one.
pub(super) fn of(headers: &HeaderMap) -> Option<Trace> {
    let mut parents = headers.get_all("traceparent");
    let parent = parents.next()?.to_str().ok()?;
    // Several are none.
    if parents.next().is_some() {
        return None;
    }
    let states: Result<Vec<&str>, _> = headers.get_all("tracestate").map(|state| state.to_str()).collect();
    let state = states.ok().map(|states| states.join(","));
    Trace::read(parent, state.as_deref())
}

/// What of a job's metadata is its trace.
#[derive(Deserialize)]
struct Own {
    traceparent: Option<IgnoredAny>,
    tracestate: Option<IgnoredAny>,
}

/// Keeps `trace` with a checked job, unless the job says its own.
pub(super) fn keep(spec: &mut JobSpec, trace: Option<&Trace>) {
    let Some(trace) = trace else { return };
    let known = spec.options().metadata.as_str();
    let rest = known.strip_prefix('{').filter(|_| !known.is_empty());
    if let Some(text) = (!known.is_empty()).then_some(known)
        && !matches!(serde_json::from_str(text), Ok(Own { traceparent: None, tracestate: None }))
    {
        return;
    }
    let mut members = format!("\"traceparent\":{}", json!(trace.parent()));
    if let Some(state) = trace.state() {
        members.push_str(&format!(",\"tracestate\":{}", json!(state)));
    }
    let kept = match rest {
        // Metadata is never an empty object: that is none.
        Some(rest) => format!("{{{members},{rest}"),
        None => format!("{{{members}}}"),
    };
    if kept.len() <= METADATA_BYTES_MAX {
        spec.options.get_or_insert_default().metadata = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::spec::check;
    use actix_web::http::header::{HeaderName, HeaderValue};
    use serde_json::Value;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        all.iter().map(pair).collect()
    }

    fn kept(metadata: Value) -> Value {
        let body = json!({"kind": "noop", "payload": {}, "metadata": metadata}).to_string();
        let mut spec = check(body.as_bytes(), None).unwrap().spec;
        keep(&mut spec, of(&headers(&[("traceparent", PARENT), ("tracestate", "a=b")])).as_ref());
        serde_json::from_str(&spec.options().metadata).unwrap()
    }

    #[test]
    fn a_trace_is_kept_unless_the_job_says_its_own() {
        assert_eq!(kept(json!({})), json!({"traceparent": PARENT, "tracestate": "a=b"}));
        assert_eq!(kept(json!({"x": [1]})), json!({"traceparent": PARENT, "tracestate": "a=b", "x": [1]}));
        for own in [json!({"traceparent": "mine", "y": 1}), json!({"tracestate": "mine"}), json!({"traceparent": 1})] {
            assert_eq!(kept(own.clone()), own);
        }
        let large = json!({"x": "y".repeat(METADATA_BYTES_MAX - 20)});
        assert_eq!(kept(large.clone()), large, "there is no room for it");
    }

    #[test]
    fn headers_that_are_none_are_passed_over() {
        assert_eq!(of(&headers(&[])), None);
        assert_eq!(of(&headers(&[("tracestate", "a=b")])), None);
        assert_eq!(of(&headers(&[("traceparent", "00-1-2-3")])), None);
        let mut twice = headers(&[("traceparent", PARENT)]);
        twice.append(HeaderName::from_static("traceparent"), HeaderValue::from_static(PARENT));
        assert_eq!(of(&twice), None);
        let mut states = headers(&[("traceparent", PARENT), ("tracestate", "a=1")]);
        states.append(HeaderName::from_static("tracestate"), HeaderValue::from_static("b=2"));
        assert_eq!(of(&states).unwrap().state(), Some("a=1,b=2"));
    }

    #[test]
    fn another_trace_under_the_same_key_is_the_same_request() {
        let body = br#"{"kind":"noop","payload":{}}"#;
        let [mut first, mut second] = [(); 2].map(|()| check(body, Some("k".into())).unwrap());
        keep(&mut first.spec, Trace::read(PARENT, None).as_ref());
        keep(&mut second.spec, None);
        assert_ne!(first.spec, second.spec);
        assert_eq!(first.body_hash, second.body_hash);
    }
}
