//! What a browser is answered, without one.

use super::*;
use actix_web::http::header::HeaderValue;

fn ask(path: &str, encoding: Option<&'static str>) -> Result<Answer, u16> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let wanted = Wanted::of(&parts).ok_or(0_u16)?;
    let mut headers = HeaderMap::new();
    if let Some(encoding) = encoding {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
    }
    answer(&wanted, &headers).map_err(|problem| problem.status())
}

fn text(answer: &Answer) -> String {
    match &answer.body {
        Body::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Body::Stream(_) => String::new(),
    }
}

fn header(answer: &Answer, name: &HeaderName) -> String {
    let found = answer.headers.iter().find(|(known, _)| known == name);
    found.map_or_else(String::new, |(_, value)| value.to_str().unwrap_or_default().to_owned())
}

/// The addresses of the files that the document names.
fn named(document: &str) -> Vec<String> {
    document
        .split('"')
        .filter_map(|part| part.strip_prefix("./assets/"))
        .map(|name| format!("/assets/{name}"))
        .collect()
}

#[test]
fn each_view_has_the_document_with_a_base_by_its_depth() {
    for (path, base) in [("/", "./"), ("/nodes", "./"), ("/jobs", "./"), ("/jobs/0196", "../"), ("/submit", "./")] {
        let page = ask(path, None).unwrap_or_else(|status| panic!("{path}: {status}"));
        assert!(text(&page).contains(&format!("<base href=\"{base}\">")), "{path}");
        assert_eq!(header(&page, &CACHE_CONTROL), "no-cache");
        let policy = header(&page, &CONTENT_SECURITY_POLICY);
        assert!(policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    for path in ["/x", "/jobs/", "/jobs/a/b", "/nodes/n1", "/assets", "/assets/a/b"] {
        assert!(ask(path, None).is_err(), "{path}");
    }
}

#[test]
fn the_document_has_no_script_and_no_style_in_it() {
    let page = text(&ask("/", None).unwrap_or_else(|status| panic!("{status}")));
    for part in page.split("<script").skip(1) {
        let body = part.split_once('>').and_then(|(_, rest)| rest.split("</script>").next());
        assert_eq!(body, Some(""), "{page}");
    }
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains("//"), "{page}");
}

#[test]
fn files_bear_their_hash_and_are_kept_for_good() {
    let page = text(&ask("/", None).unwrap_or_else(|status| panic!("{status}")));
    let files = named(&page);
    assert_eq!(files.len(), 3, "{page}");
    let mut packed_bytes = page.len();
    for file in &files {
        let plain = ask(file, None).unwrap_or_else(|status| panic!("{file}: {status}"));
        assert_eq!(header(&plain, &CACHE_CONTROL), FOR_GOOD, "{file}");
        assert_eq!(header(&plain, &CONTENT_ENCODING), "");
        let packed = ask(file, Some("br, gzip;q=0.8")).unwrap_or_else(|status| panic!("{file}: {status}"));
        let refused = ask(file, Some("gzip;q=0")).unwrap_or_else(|status| panic!("{file}: {status}"));
        assert_eq!(header(&refused, &CONTENT_ENCODING), "");
        if let Body::Whole(bytes) = &packed.body {
            packed_bytes += bytes.len();
        }
        if !file.ends_with(".svg") {
            assert_eq!(header(&packed, &CONTENT_ENCODING), "gzip", "{file}");
        }
    }
    assert!(packed_bytes < 100_000, "the page has {packed_bytes} compressed bytes");
}

#[test]
fn a_file_of_another_version_is_answered_and_not_kept() {
    let other = ask("/assets/page-0123456789abcdef.js", None).unwrap_or_else(|status| panic!("{status}"));
    assert_eq!(header(&other, &CACHE_CONTROL), "no-store");
    for name in ["page.js", "page-0123.js", "page-0123456789abcdeg.js", "x-0123456789abcdef.js", "..%2fCargo.toml"] {
        assert_eq!(ask(&format!("/assets/{name}"), None).err(), Some(404), "{name}");
    }
}

#[test]
fn a_browser_that_has_the_document_gets_no_second_one() {
    let page = ask("/", None).unwrap_or_else(|status| panic!("{status}"));
    let mut headers = HeaderMap::new();
    headers.insert(IF_NONE_MATCH, HeaderValue::from_str(&header(&page, &ETAG)).unwrap());
    let again = answer(&Wanted::Document(0), &headers).unwrap_or_else(|_| panic!("an answer"));
    assert_eq!((again.status, text(&again).len()), (StatusCode::NOT_MODIFIED, 0));
    let deeper = answer(&Wanted::Document(1), &headers).unwrap_or_else(|_| panic!("an answer"));
    assert_eq!(deeper.status, StatusCode::OK, "another base is another document");
}
