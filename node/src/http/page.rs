//! The page: `/`, the addresses of its views, and the files that it is made of.
//!
//! ```text
//!   /  /nodes  /jobs  /jobs/ID …   the same document, never kept by a browser without asking
//!   /assets/page-HASH.js           a file under the hash of its content, kept for good
//! ```
//!
//! All is in the program, built before from `node/page` and kept in the tree, so that a build needs nothing else.
//! What the document names is relative to a base that the depth of its address decides: the page works under any path
//! prefix that a proxy takes away. It is told by its policy to run and to ask nothing but what is here; so it has no
//! script and no style of its own in the document.
//!
//! It shows nothing by itself and so needs no token: what it asks of the API does.

use super::answer::{Answer, Answered, Body};
use super::problem::{Kind, Problem};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderMap, HeaderName,
    IF_NONE_MATCH, REFERRER_POLICY, VARY,
};
use bytes::Bytes;
use std::sync::LazyLock;
use xxhash_rust::xxh3::xxh3_64;

/// What the page may do in a browser: nothing but with this origin.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'self'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";
/// The views that have an address, beside the first one.
const VIEWS: [&str; 6] = ["nodes", "jobs", "queues", "schedules", "failovers", "submit"];
/// A year: what bears the hash of its content never changes.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";
/// The browser may keep it, but has to ask whether it still holds.
const ASK_AGAIN: &str = "no-cache";

/// What of the page a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The document, so many folders below the root.
    Document(usize),
    /// A file, under the name that the document gives it.
    Asset(String),
}

impl Wanted {
    /// What the parts of a path name, if they name anything of the page.
    pub(super) fn of(parts: &[&str]) -> Option<Self> {
        match parts {
            [""] => Some(Self::Document(0)),
            [view] if VIEWS.contains(view) => Some(Self::Document(0)),
            ["jobs", id] if !id.is_empty() => Some(Self::Document(1)),
            ["assets", name] => Some(Self::Asset((*name).to_owned())),
            _ => None,
        }
    }
}

/// A file of the page.
struct Asset {
    /// Its name in the tree, like `page.js`.
    plain: &'static str,
    content_type: &'static str,
    whole: &'static [u8],
    packed: Option<&'static [u8]>,
    /// Its name with the hash of its content.
    hashed: String,
}

impl Asset {
    fn new(
        plain: &'static str,
        content_type: &'static str,
        whole: &'static [u8],
        packed: Option<&'static [u8]>,
    ) -> Self {
        let (stem, ending) = plain.rsplit_once('.').unwrap_or((plain, ""));
        let hashed = format!("{stem}-{:016x}.{ending}", xxh3_64(whole));
        Self { plain, content_type, whole, packed, hashed }
    }

    /// Whether `name` is this file's, in this or another version of the page.
    fn is_version(&self, name: &str) -> bool {
        let (stem, ending) = self.plain.rsplit_once('.').unwrap_or((self.plain, ""));
        let hash = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-'));
        let hash = hash.and_then(|rest| rest.strip_suffix(ending)).and_then(|rest| rest.strip_suffix('.'));
        hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()))
    }
}

/// All of the page, once.
struct Page {
    /// The document, by the depth of its address.
    documents: [(String, String); 2],
    assets: [Asset; 3],
}

macro_rules! built {
    ($file:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/page/built/", $file))
    };
}

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let script = "text/javascript; charset=utf-8";
    let assets = [
        Asset::new("page.js", script, built!("assets/page.js"), Some(built!("assets/page.js.gz"))),
        Asset::new(
            "page.css",
            "text/css; charset=utf-8",
            built!("assets/page.css"),
            Some(built!("assets/page.css.gz")),
        ),
        Asset::new("icon.svg", "image/svg+xml", built!("assets/icon.svg"), None),
    ];
    let mut document = String::from_utf8_lossy(built!("index.html")).into_owned();
    for asset in &assets {
        document = document.replace(&format!("assets/{}", asset.plain), &format!("assets/{}", asset.hashed));
    }
    let documents = ["./", "../"].map(|base| {
        let text = document.replace("<base href=\"./\">", &format!("<base href=\"{base}\">"));
        let tag = format!("\"{:016x}\"", xxh3_64(text.as_bytes()));
        (text, tag)
    });
    Page { documents, assets }
});

/// Answers with the document or a file of the page.
pub(super) fn answer(wanted: &Wanted, headers: &HeaderMap) -> Answered {
    match wanted {
        Wanted::Document(depth) => Ok(document(*depth, headers)),
        Wanted::Asset(name) => asset(name, headers),
    }
}

fn document(depth: usize, headers: &HeaderMap) -> Answer {
    let (text, tag) = &PAGE.documents[depth.min(PAGE.documents.len() - 1)];
    let known = headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).is_some_and(|tags| tags.contains(tag));
    let (status, body) = if known {
        (StatusCode::NOT_MODIFIED, Bytes::new())
    } else {
        (StatusCode::OK, Bytes::from_static(text.as_bytes()))
    };
    Answer::new(status, "text/html; charset=utf-8", Body::Whole(body))
        .with(CONTENT_SECURITY_POLICY, POLICY)
        .with(REFERRER_POLICY, "same-origin")
        .with(HeaderName::from_static("x-frame-options"), "DENY")
        .with(CACHE_CONTROL, ASK_AGAIN)
        .with(ETAG, tag)
}

/// A file by its name. While nodes of two versions answer at one address, a document of the one asks for files of the
/// other: it gets this one's, which nobody keeps.
fn asset(name: &str, headers: &HeaderMap) -> Answered {
    let exact = PAGE.assets.iter().find(|asset| asset.hashed == name);
    let found = exact.or_else(|| PAGE.assets.iter().find(|asset| asset.is_version(name)));
    let asset =
        found.ok_or_else(|| Problem::new(Kind::NotFound, format!("the page has no file `{name}`; load / anew")))?;
    let packed = asset.packed.filter(|_| takes_gzip(headers));
    let body = Body::Whole(Bytes::from_static(packed.unwrap_or(asset.whole)));
    let answer = Answer::new(StatusCode::OK, asset.content_type, body)
        .with(CACHE_CONTROL, if exact.is_some() { FOR_GOOD } else { "no-store" })
        .with(VARY, "Accept-Encoding");
    Ok(if packed.is_some() { answer.with(CONTENT_ENCODING, "gzip") } else { answer })
}

/// Whether the client takes gzip, and did not say that it would rather not.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
    offers.flat_map(|value| value.split(',')).any(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.any(|part| part.strip_prefix("q=").and_then(|q| q.parse().ok()) == Some(0.0));
        is_gzip && !refused
    })
}

#[cfg(test)]
mod tests;
