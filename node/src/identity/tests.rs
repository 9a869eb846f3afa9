//! Identities survive their files, and tokens that are wrong say how.

use super::*;
use relais_protocol::ids::{ClusterId, NodeId};
use relais_protocol::time::UnixMs;
use std::os::unix::fs::PermissionsExt;

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const CLUSTER: ClusterId = ClusterId(0x00ab_cdef);

fn identity(node: u32) -> Identity {
    let ca = ClusterCa::create(CLUSTER, NOW).unwrap();
    let key = NodeKey::generate().unwrap();
    let certificate = ca.admit(CLUSTER, NodeId(node), &key.signing_request().unwrap(), NOW, 30).unwrap();
    Identity::new(ca, certificate, key).unwrap()
}

#[test]
fn an_identity_survives_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let made = identity(7);
    assert!(!Identity::exists(folder.path()));
    made.save(folder.path()).unwrap();
    let read = Identity::load(folder.path()).unwrap();
    assert_eq!((read.cluster, read.node), (CLUSTER, NodeId(7)));
    assert_eq!(read.certificate, made.certificate);
    assert_eq!(read.ca.sha256(), made.ca.sha256());
    assert_eq!(read.key.derive("x"), made.key.derive("x"));
    assert_ne!(read.key.derive("x"), made.key.derive("y"));
    assert!(read.ca.can_sign());
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
}

#[test]
fn a_worker_has_no_ca_key_until_it_is_given_the_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let (made, other) = (identity(1), identity(1));
    let key = made.ca.key_pem().unwrap();
    let bare = ClusterCa::from_pem(&made.ca.certificate_pem(), None).unwrap();
    let node_key = NodeKey::from_pem(&made.key.to_pem()).unwrap();
    let request = node_key.signing_request().unwrap();
    assert!(matches!(bare.admit(CLUSTER, NodeId(2), &request, NOW, 30), Err(IdentityError::NoCaKey)));
    let mut worker = Identity::new(bare, made.certificate.clone(), node_key).unwrap();
    worker.save(folder.path()).unwrap();
    assert!(!Identity::load(folder.path()).unwrap().ca.can_sign());
    let wrong = worker.take_ca_key(folder.path(), &other.ca.key_pem().unwrap());
    assert!(matches!(wrong, Err(IdentityError::Mismatch(_))));
    worker.take_ca_key(folder.path(), &key).unwrap();
    assert!(Identity::load(folder.path()).unwrap().ca.can_sign());
}

#[test]
fn certificates_name_the_node_and_nothing_that_was_asked_for() {
    let made = identity(42);
    assert_eq!(node_of_certificate(&made.certificate.0), Some((CLUSTER, NodeId(42))));
    assert_eq!(node_of_certificate(made.ca.certificate()), None);
    assert_eq!(node_of_certificate(b"junk"), None);
    let mut request = made.key.signing_request().unwrap();
    let last = request.len() - 1;
    request[last] ^= 1;
    assert!(made.ca.admit(CLUSTER, NodeId(1), &request, NOW, 30).is_err(), "a forged request");
    assert!(made.ca.admit(CLUSTER, NodeId(1), b"", NOW, 30).is_err());
    let stranger = NodeKey::generate().unwrap();
    let ca = ClusterCa::from_pem(&made.ca.certificate_pem(), None).unwrap();
    assert!(matches!(Identity::new(ca, made.certificate, stranger), Err(IdentityError::Mismatch(_))));
}

#[test]
fn a_join_token_survives_its_text_and_says_what_is_wrong() {
    let token = JoinToken::create([9; 32], NOW).unwrap();
    let text = token.text();
    assert!(text.starts_with("rl1.") && text.is_ascii() && !text.contains(['=', '+', '/']));
    let before = UnixMs(NOW.0 - 1);
    let read = JoinToken::parse(&format!(" {text}\n"), before).unwrap();
    assert!(read == token && read.secret_hash() == token.secret_hash());
    assert_eq!(JoinToken::parse(&text, NOW), Err(TokenError::Expired { at: NOW, now: NOW }));
    assert!(JoinToken::parse(&text, NOW).unwrap_err().to_string().contains("2027-01-15"));
    assert_eq!(JoinToken::parse("hello", before), Err(TokenError::Format));
    for cut in 4..text.len() {
        assert_eq!(JoinToken::parse(&text[..cut], before), Err(TokenError::Damaged), "cut at {cut}");
    }
    let mut mistyped = text.clone().into_bytes();
    mistyped[20] = if mistyped[20] == b'A' { b'B' } else { b'A' };
    assert_eq!(JoinToken::parse(std::str::from_utf8(&mistyped).unwrap(), before), Err(TokenError::Damaged));
    assert!(!format!("{token:?}").contains(&text[60..70]));
}

#[test]
fn api_tokens_differ_and_are_known_by_their_hash() {
    let (a, b) = (ApiToken::create().unwrap(), ApiToken::create().unwrap());
    assert!(a.text().starts_with("rlt_") && a.text().len() == 44);
    assert!(a.secret_hash() != b.secret_hash());
    assert!(a.secret_hash() == SecretHash::of(a.text().as_bytes()));
    assert!(!format!("{a:?}").contains(a.text()));
}

#[test]
fn pem_is_read_back_by_others() {
    let made = identity(3);
    let der = NodeCert::from_pem(&made.certificate.to_pem()).unwrap();
    assert_eq!(der, made.certificate);
    assert!(made.certificate.to_pem().lines().all(|line| line.len() <= 64));
}
