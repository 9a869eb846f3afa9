//! An answer as this client wants it: not again if it has it already, compressed if it takes that, under the id that
//! it gave the request. It changes nothing of what is said.

use super::answer::{Answer, Body};
use actix_web::HttpRequest;
use actix_web::http::header::{self, AcceptEncoding, Encoding, Header, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use rand::TryRngCore;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use xxhash_rust::xxh3::xxh3_64;

/// The header under which a client and its proxies find a request again.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// A body below this is not worth it.
const COMPRESSED_FROM: usize = 1 << 10;
const ZSTD_LEVEL: i32 = 1;
const REQUEST_ID_LENGTH_MAX: usize = 128;

/// What a client takes, the dearer to us last.
const ENCODINGS: [Encoding; 3] = [Encoding::zstd(), Encoding::gzip(), Encoding::identity()];

/// The id of a request: the client's own, if it is 1 to 128 printable ASCII characters, or one made up.
pub(super) fn request_id(http: &HttpRequest) -> String {
    let own = http.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let fits =
        |id: &&str| (1..=REQUEST_ID_LENGTH_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    own.filter(fits).map_or_else(new_id, str::to_owned)
}

/// A number of this process, after one that no other process has.
fn new_id() -> String {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    // Without random bytes two nodes may give the same id: a nuisance to who reads logs, no more.
    let process = PROCESS.get_or_init(|| rand::rngs::OsRng.try_next_u32().unwrap_or_default());
    format!("{process:08x}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// `answer` as the client of `http` wants it.
pub(super) fn shaped(http: &HttpRequest, answer: Answer) -> Answer {
    let read = [Method::GET, Method::HEAD].contains(http.method());
    let answer = if read { tagged(http, answer) } else { answer };
    compressed(http, answer)
}

/// With an `ETag`; 304 without a body if the client says that it has it. Weak, since the compressed body is another.
fn tagged(http: &HttpRequest, mut answer: Answer) -> Answer {
    let Body::Whole(bytes) = &answer.body else { return answer };
    if answer.status != StatusCode::OK || answer.headers.iter().any(|(name, _)| *name == header::ETAG) {
        return answer;
    }
    let tag = format!("W/\"{:016x}\"", xxh3_64(bytes));
    if http.headers().get_all(header::IF_NONE_MATCH).any(|value| names(value, &tag)) {
        answer.status = StatusCode::NOT_MODIFIED;
        answer.body = Body::Whole(Bytes::new());
    }
    answer.with(header::ETAG, &tag).with(header::CACHE_CONTROL, "no-cache")
}

/// Whether an `If-None-Match` has `tag` in it, weak or strong.
fn names(value: &HeaderValue, tag: &str) -> bool {
    let bare = |text: &str| text.trim().trim_start_matches("W/").to_owned();
    let mut known = value.to_str().unwrap_or_default().split(',');
    known.any(|one| one.trim() == "*" || bare(one) == bare(tag))
}

fn compressed(http: &HttpRequest, mut answer: Answer) -> Answer {
    let Body::Whole(bytes) = &answer.body else { return answer };
    let done_already = answer.headers.iter().any(|(name, _)| *name == header::CONTENT_ENCODING);
    if bytes.len() < COMPRESSED_FROM || done_already || !is_text(&answer.content_type) {
        return answer;
    }
    let wanted = match AcceptEncoding::parse(http) {
        Ok(wanted) if http.headers().contains_key(header::ACCEPT_ENCODING) => wanted.negotiate(ENCODINGS.iter()),
        _ => None,
    };
    let packed = match wanted {
        Some(encoding) if encoding == Encoding::zstd() => zstd::bulk::compress(bytes, ZSTD_LEVEL).map(|b| ("zstd", b)),
        Some(encoding) if encoding == Encoding::gzip() => gzip(bytes).map(|b| ("gzip", b)),
        _ => return answer.with(header::VARY, "Accept-Encoding"),
    };
    // Memory alone is written to: if that fails, the client takes it as it is.
    if let Ok((name, packed)) = packed {
        answer.body = Body::Whole(packed.into());
        answer = answer.with(header::CONTENT_ENCODING, name);
    }
    answer.with(header::VARY, "Accept-Encoding")
}

fn is_text(content_type: &HeaderValue) -> bool {
    let text = content_type.to_str().unwrap_or_default();
    text.starts_with("text/") || ["json", "javascript", "svg"].iter().any(|word| text.contains(word))
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The header of a request's id.
pub(super) fn request_id_header(id: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_static(REQUEST_ID), HeaderValue::from_str(id).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;
    use flate2::read::GzDecoder;
    use std::io::Read;

    fn asked(headers: &[(&'static str, &str)]) -> HttpRequest {
        headers.iter().fold(TestRequest::get(), |request, header| request.insert_header(*header)).to_http_request()
    }

    fn header_of(answer: &Answer, name: &HeaderName) -> Option<String> {
        let found = answer.headers.iter().find(|(known, _)| known == name);
        found.and_then(|(_, value)| value.to_str().ok().map(str::to_owned))
    }

    fn body(answer: &Answer) -> Bytes {
        match &answer.body {
            Body::Whole(bytes) => bytes.clone(),
            Body::Stream(_) => panic!("a stream"),
        }
    }

    fn long() -> Answer {
        Answer::json_text(StatusCode::OK, format!("[{}]", ["1"; 2_000].join(",")))
    }

    #[test]
    fn a_client_that_has_it_gets_it_no_more() {
        let first = shaped(&asked(&[]), long());
        let tag = header_of(&first, &header::ETAG).expect("a tag");
        for known in [tag.as_str(), "*", &format!("\"x\", {tag}"), tag.trim_start_matches("W/")] {
            let again = shaped(&asked(&[("If-None-Match", known)]), long());
            assert_eq!((again.status, body(&again).len()), (StatusCode::NOT_MODIFIED, 0), "{known}");
            assert_eq!(header_of(&again, &header::ETAG), Some(tag.clone()));
        }
        let other = shaped(&asked(&[("If-None-Match", "W/\"00\"")]), long());
        assert_eq!(other.status, StatusCode::OK);
        let failed = Answer::json_text(StatusCode::NOT_FOUND, "{}");
        assert_eq!(header_of(&shaped(&asked(&[]), failed), &header::ETAG), None);
    }

    #[test]
    fn bodies_are_compressed_for_who_takes_it() {
        let plain = body(&long());
        let gzip = shaped(&asked(&[("Accept-Encoding", "gzip, deflate")]), long());
        assert_eq!(header_of(&gzip, &header::CONTENT_ENCODING).as_deref(), Some("gzip"));
        let mut text = Vec::new();
        GzDecoder::new(body(&gzip).as_ref()).read_to_end(&mut text).expect("gzip");
        assert_eq!(text, plain);
        let zstd = shaped(&asked(&[("Accept-Encoding", "zstd, gzip;q=0.5")]), long());
        assert_eq!(header_of(&zstd, &header::CONTENT_ENCODING).as_deref(), Some("zstd"));
        assert_eq!(zstd::bulk::decompress(&body(&zstd), 1 << 20).expect("zstd"), plain);
        assert!(body(&zstd).len() < plain.len() / 10);
        for none in [&[][..], &[("Accept-Encoding", "identity")], &[("Accept-Encoding", "br")]] {
            let answer = shaped(&asked(none), long());
            assert_eq!(header_of(&answer, &header::CONTENT_ENCODING), None, "{none:?}");
            assert_eq!(body(&answer), plain);
        }
        let short = shaped(&asked(&[("Accept-Encoding", "gzip")]), Answer::json_text(StatusCode::OK, "{}"));
        assert_eq!(header_of(&short, &header::CONTENT_ENCODING), None);
    }

    #[test]
    fn a_request_has_its_own_id_or_a_new_one() {
        assert_eq!(request_id(&asked(&[("X-Request-Id", "abc-1")])), "abc-1");
        let long = "x".repeat(129);
        let others = [request_id(&asked(&[])), request_id(&asked(&[("X-Request-Id", &long)]))];
        assert!(others.iter().all(|id| id.len() >= 10 && id.len() < 30) && others[0] != others[1], "{others:?}");
    }
}
