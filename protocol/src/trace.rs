//! W3C Trace Context: what a client sends with a submit, and an attempt is told again. Nothing here makes spans.
//!
//! <https://www.w3.org/TR/trace-context/>. A `traceparent` that is none is passed over without an error, and a
//! `tracestate` means nothing without one.

/// Characters of a `tracestate` that is passed on.
const STATE_CHARS_MAX: usize = 512;
/// Vendors in one.
const STATE_MEMBERS_MAX: usize = 32;
/// Characters of a `traceparent` of version 00.
const PARENT_CHARS: usize = 55;

/// Which trace something belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    parent: String,
    state: Option<String>,
}

impl Trace {
    /// Reads the two headers; `None` when the first is none.
    #[must_use]
    pub fn read(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let state = tracestate.map(str::trim).filter(|state| is_state(state)).map(str::to_owned);
        Some(Self { parent: parent(traceparent.trim())?, state })
    }

    /// `traceparent`, of version 00.
    #[must_use]
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// `tracestate`, if there is one.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// The context of version 00 in `text`. What a later version adds is not understood, and not passed on.
fn parent(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let known = text.get(..PARENT_CHARS)?;
    let parts: Vec<&str> = known.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { return None };
    let lengths = [version.len(), trace.len(), span.len(), flags.len()] == [2, 32, 16, 2];
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_nothing = |part: &str| part.bytes().all(|byte| byte == b'0');
    if !lengths || !parts.iter().all(|part| is_hex(part)) || is_nothing(trace) || is_nothing(span) {
        return None;
    }
    match version {
        "00" => (bytes.len() == PARENT_CHARS).then(|| known.to_owned()),
        "ff" => None,
        _ if bytes.len() > PARENT_CHARS && bytes[PARENT_CHARS] != b'-' => None,
        // Of its flags only the one for `sampled` is known.
        _ => Some(format!("00-{trace}-{span}-{:02x}", u8::from_str_radix(flags, 16).ok()? & 1)),
    }
}

fn is_state(text: &str) -> bool {
    let is_member = |member: &str| {
        let (key, value) = member.split_once('=').unwrap_or_default();
        !key.is_empty() && !value.is_empty() && member.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
    };
    let members = || text.split(',').map(str::trim).filter(|member| !member.is_empty());
    text.len() <= STATE_CHARS_MAX && (1..=STATE_MEMBERS_MAX).contains(&members().count()) && members().all(is_member)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_read_as_the_recommendation_says() {
        let read = |text: &str| Trace::read(text, None).map(|trace| trace.parent);
        assert_eq!(read(GOOD).as_deref(), Some(GOOD));
        assert_eq!(read(&format!(" {GOOD}\t")).as_deref(), Some(GOOD));
        let later = GOOD.replacen("00-", "cc-", 1).replace("-01", "-ff");
        assert_eq!(
            read(&format!("{later}-what.comes")).as_deref(),
            Some(GOOD),
            "a later version, as far as it is known"
        );
        assert_eq!(read(&later).as_deref(), Some(GOOD));
        for bad in [
            String::new(),
            GOOD.replacen("00-", "ff-", 1),
            GOOD.to_uppercase(),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD[..54].to_owned(),
            format!("{GOOD}-more"),
            format!("{later}more"),
            GOOD.replace('-', "_"),
            GOOD.replace("4b", "4g"),
            GOOD.replace("4b", "ü"),
        ] {
            assert_eq!(read(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_state_is_passed_on_only_beside_a_context_and_within_bounds() {
        let state = |text: &str| Trace::read(GOOD, Some(text)).unwrap().state;
        assert_eq!(
            state("congo=t61rcWkgMzE, rojo=00f067aa0ba902b7").as_deref(),
            Some("congo=t61rcWkgMzE, rojo=00f067aa0ba902b7")
        );
        let many = vec!["a=b"; 33].join(",");
        for bad in ["", " ", "congo", "=x", "a=", "a=\u{7}", &many, &format!("a={}", "b".repeat(600))] {
            assert_eq!(state(bad), None, "{bad:?}");
        }
        assert_eq!(Trace::read("none", Some("a=b")), None);
    }

    proptest! {
        #[test]
        fn other_text_never_panics(text in "\\PC{0,80}", state in "\\PC{0,40}") {
            let _ = Trace::read(&text, Some(&state));
        }
    }
}
