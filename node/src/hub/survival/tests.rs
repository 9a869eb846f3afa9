//! What is survived: a table of clusters.

use super::*;

/// `+n1@a` is a voter on machine `a` that is up; `-` is down, `w` in front of the name a witness, `.` up without
/// a vote; `@#r` is a failure domain.
fn places(text: &str) -> Vec<Place> {
    let place = |word: &str| {
        let (sign, rest) = word.split_at(1);
        let (name, domain) = rest.split_once('@').unwrap_or((rest, rest));
        Place {
            name: name.to_owned(),
            domain: domain.trim_start_matches('#').to_owned(),
            labelled: domain.starts_with('#'),
            witness: name.starts_with('w'),
            voter: sign != ".",
            up: sign != "-",
        }
    };
    text.split_whitespace().map(place).collect()
}

fn said(text: &str) -> (String, bool) {
    let prospects = prospects(&places(text), &Settings::default());
    (prospects.sentence, prospects.any_one)
}

#[test]
fn losses_are_told_as_they_are() {
    let cases = [
        ("+n1", "loss of n1: no", false),
        (
            "+n1 +n2",
            "loss of n1: yes, n2 takes over after 3s; loss of n2: yes, n1 takes over after 3s; any two together: no",
            true,
        ),
        ("+n1 -n2", "nothing: 1 of 2 voters is online, and more than half are needed", false),
        ("-n1 -n2", "nothing: no voter is known to be online", false),
        ("+n1 +n2 +w1", "loss of n1: yes; loss of n2: yes; loss of w1: yes; any two together: no", true),
        ("+n1 -n2 +w1", "loss of n1: no; loss of w1: no", false),
        ("+n1 +n2 +n3", "loss of n1: yes; loss of n2: yes; loss of n3: yes; any two together: no", true),
        ("+n1 +n2 -n3", "loss of n1: no; loss of n2: no", false),
        ("+n1 -n2 -n3", "nothing: 1 of 3 voters is online, and more than half are needed", false),
        (
            "+n1 +n2 +n3 .n4",
            "loss of n1: yes; loss of n2: yes; loss of n3: yes; any two together: no; loss of any node that does not vote: yes",
            true,
        ),
        (
            "+n1 +n2 +n3 +n4 +n5",
            "loss of n1: yes; loss of n2: yes; loss of n3: yes; loss of n4: yes; loss of n5: yes; any two together: yes; any three together: no",
            true,
        ),
        (
            "+n1 +n2 +n3 +n4 -n5",
            "loss of n1: yes; loss of n2: yes; loss of n3: yes; loss of n4: yes; any two together: no",
            true,
        ),
    ];
    for (cluster, sentence, any_one) in cases {
        assert_eq!(said(cluster), (sentence.to_owned(), any_one), "{cluster}");
    }
}

#[test]
fn machines_are_counted_and_not_processes() {
    let cases = [
        ("+n1@a +n2@a +n3@b", "loss of n1 and n2 (one machine): no; loss of n3: yes; any two together: no", false),
        (
            "+n1@#r +n2 +n3@#r .n4@#r",
            "loss of n1, n3 and n4 (failure domain `r`): no; loss of n2: yes; any two together: no",
            false,
        ),
        (
            "+n1@a +n2@a +n3@b +n4@c +n5@d",
            "loss of n1 and n2 (one machine): yes; loss of n3: yes; loss of n4: yes; loss of n5: yes; \
             n1, n2 and n3 together: no; n1, n2 and n4 together: no; n1, n2 and n5 together: no; any other two together: yes",
            true,
        ),
        (
            "+n1@a +n2@a +n3@a",
            "loss of the one machine that all nodes share: no; of one process there, n1: yes, n2: yes, n3: yes; any two together: no",
            true,
        ),
        (
            "+n1@#r +n2@#r -n3@#s",
            "loss of the one failure domain that all nodes share: no; of one process there, n1: no, n2: no",
            false,
        ),
    ];
    for (cluster, sentence, any_one) in cases {
        assert_eq!(said(cluster), (sentence.to_owned(), any_one), "{cluster}");
    }
}

#[test]
fn a_pair_survives_what_its_takeover_allows() {
    for (takeover, told, any_one) in [
        ("off", "loss of n1: no, takeover is off", false),
        ("tiebreak:gw:7", "loss of n1: yes, n2 takes over after 3s if it reaches gw:7", true),
        ("fence:ipmi off", "loss of n1: yes, n2 takes over after 3s if the fence command succeeds", true),
    ] {
        let mut settings = Settings::default();
        settings.set("takeover", takeover).unwrap();
        let prospects = prospects(&places("+n1 +n2"), &settings);
        assert!(prospects.sentence.starts_with(told), "{}", prospects.sentence);
        assert_eq!(prospects.any_one, any_one);
    }
}

#[test]
fn witnesses_alone_dispatch_nothing() {
    assert_eq!(said("+n1 +w1 +w2").0, "loss of n1: no; loss of w1: yes; loss of w2: yes; any two together: no");
}

#[test]
fn sets_are_all_sets() {
    assert_eq!(combinations(3, 2), [[0, 1], [0, 2], [1, 2]]);
    assert_eq!(combinations(2, 3), Vec::<Vec<usize>>::new());
}
