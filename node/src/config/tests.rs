//! Precedence of the layers, and what each wrong setting is answered.

use super::*;

fn load(file: Option<&str>, variables: &[(&str, &str)], flags: Layer) -> Result<StartConfig, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("relais.toml");
    if let Some(text) = file {
        std::fs::write(&path, text).expect("a file");
    }
    let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    StartConfig::load(file.map(|_| path.as_path()), variables, flags, "Host-7.local")
        .map_err(|error| error.to_string().replace(&path.display().to_string(), "relais.toml"))
}

fn slots_flag(text: &str) -> Layer {
    Layer { slots: Some(Given::flag("--slots", text)), ..Layer::default() }
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = load(None, &[], Layer::default()).unwrap();
    assert_eq!(config.name.as_str(), "host-7.local");
    assert!(!config.name_given);
    assert_eq!(config.http.to_string(), "127.0.0.1:7700");
    assert_eq!(config.listen.to_string(), "0.0.0.0:7800");
    assert_eq!(config.data_dir, PathBuf::from("./relais-data"));
    assert_eq!((config.slots, config.join, config.advertise), (None, None, None));
    assert_eq!((config.insecure_http, config.log_format), (false, LogFormat::Text));
    assert_eq!(config.min_free, 64 << 20);
    assert_eq!(load(Some("min_free = \"2GiB\""), &[], Layer::default()).unwrap().min_free, 2 << 30);
    assert_eq!(load(None, &[("RELAIS_MIN_FREE", "0")], Layer::default()).unwrap().min_free, 0);
    assert!(load(None, &[("RELAIS_MIN_FREE", "1 cup")], Layer::default()).unwrap_err().contains("64MiB"));
}

#[test]
fn file_is_under_environment_is_under_flags() {
    let file = "slots = 1\nname = \"a\"\n[labels]\nzone = \"eu\"\ndisk = \"ssd\"\n";
    let only_file = load(Some(file), &[], Layer::default()).unwrap();
    assert_eq!((only_file.slots, only_file.name.as_str()), (Some(1), "a"));
    assert!(only_file.name_given);

    let variables = [("RELAIS_SLOTS", "2"), ("RELAIS_LABELS", "zone=us,failure_domain=r1"), ("RELAIS_TOKEN", "x")];
    let with_variables = load(Some(file), &variables, Layer::default()).unwrap();
    assert_eq!(with_variables.slots, Some(2));
    assert_eq!(with_variables.labels["zone"], "us");
    assert_eq!(with_variables.labels["disk"], "ssd");
    assert_eq!(with_variables.failure_domain(), Some("r1"));

    let with_flags = load(Some(file), &variables, slots_flag("3")).unwrap();
    assert_eq!((with_flags.slots, with_flags.name.as_str()), (Some(3), "a"));
    let empty = load(Some(file), &[("RELAIS_SLOTS", "")], Layer::default()).unwrap();
    assert_eq!(empty.slots, Some(1));
}

#[test]
fn a_bad_file_is_named_with_its_line() {
    let table = [
        ("name = \"a\"\nslot = 4\n", "relais.toml line 2: unknown field `slot`"),
        ("\n\nslots = \"many\"\n", "relais.toml line 3: invalid type"),
        ("name = \n", "relais.toml line 1:"),
        ("name = \"a\"\n\nslots = 200000\n", "slots `200000` (relais.toml line 3) is no number from 0 to 100000"),
        ("[labels]\nzone = \"eu\"\nBAD = \"x\"\n", "label `BAD=x` (relais.toml line 3) has a bad key"),
    ];
    for (text, expected) in table {
        let error = load(Some(text), &[], Layer::default()).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let missing = StartConfig::load(Some(Path::new("/nowhere/x.toml")), [], Layer::default(), "h").unwrap_err();
    assert!(missing.to_string().starts_with("can't read the config file /nowhere/x.toml"), "{missing}");
}

#[test]
fn a_wrong_value_is_named_with_its_origin() {
    let table = [
        ("RELAIS_SLOTS", "-1", "slots `-1` (RELAIS_SLOTS) is no number from 0 to 100000"),
        ("RELAIS_CPU", "two", "cpu `two` (RELAIS_CPU) is no number of cores"),
        ("RELAIS_MEMORY", "8GB", "memory `8GB` (RELAIS_MEMORY) is no size"),
        ("RELAIS_NAME", "N 1", "name `N 1` (RELAIS_NAME) is no node name"),
        ("RELAIS_HTTP", "7700", "http `7700` (RELAIS_HTTP) has no port"),
        ("RELAIS_LISTEN", "host:7800", "listen `host:7800` (RELAIS_LISTEN) is no IP address"),
        ("RELAIS_ADVERTISE", "0.0.0.0:7800", "advertise `0.0.0.0:7800` (RELAIS_ADVERTISE) is no address that"),
        ("RELAIS_ADVERTISE_HTTP", "n1:7700", "advertise_http `n1:7700` (RELAIS_ADVERTISE_HTTP) is no URL"),
        ("RELAIS_LOG_FORMAT", "xml", "log_format `xml` (RELAIS_LOG_FORMAT) is neither `text` nor `json`"),
        ("RELAIS_INSECURE_HTTP", "maybe", "insecure_http `maybe` (RELAIS_INSECURE_HTTP) is neither"),
        ("RELAIS_LABELS", "zone", "label `zone` (RELAIS_LABELS) is no label; write KEY=VALUE"),
        ("RELAIS_WITNESS", "maybe", "witness `maybe` (RELAIS_WITNESS) is neither `true` nor `false`"),
        ("RELAIS_JOIN", "10.0.0.5:7800", "--join needs the cluster's join token"),
        ("RELAIS_JOIN_TOKEN", "rl1.abc", "a join token needs --join ADDR"),
    ];
    for (variable, text, expected) in table {
        let error = load(None, &[(variable, text)], Layer::default()).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_join_token_is_looked_at_and_never_shown() {
    let joining = |token| load(None, &[("RELAIS_JOIN", "n1:7800"), ("RELAIS_JOIN_TOKEN", token)], Layer::default());
    let config = joining("rl1.secret").unwrap();
    let target = config.join.clone().unwrap();
    assert_eq!((target.addr.to_string().as_str(), target.token.reveal()), ("n1:7800", "rl1.secret"));
    assert!(!format!("{config:?}").contains("secret"));
    for token in ["rlt_secret", "secret", "rl1.", "rl1.secret two"] {
        let error = joining(token).unwrap_err();
        assert!(error.contains("`relais token create`") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn seventeen_labels_are_too_many() {
    let list: Vec<String> = (0..17).map(|n| format!("k{n}=v")).collect();
    let error = load(None, &[("RELAIS_LABELS", &list.join(","))], Layer::default()).unwrap_err();
    assert!(error.starts_with("17 labels are given, and a node has at most 16"), "{error}");
}

#[test]
fn a_witness_offers_no_slots() {
    let config = load(None, &[("RELAIS_WITNESS", "true")], Layer::default()).unwrap();
    assert!(config.witness);
    let both = load(None, &[("RELAIS_WITNESS", "yes"), ("RELAIS_SLOTS", "2")], Layer::default()).unwrap_err();
    assert!(both.starts_with("a witness runs no jobs"), "{both}");
}

#[test]
fn each_setting_tells_where_it_came_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("relais.toml");
    std::fs::write(&path, "slots = 3\njoin = \"n1:7800\"\n[labels]\nzone = \"eu\"\n").expect("a file");
    let variables = [("RELAIS_HTTP", "127.0.0.1:8800"), ("RELAIS_JOIN_TOKEN", "rl1.secret")];
    let variables = variables.map(|(k, v)| (k.to_owned(), v.to_owned()));
    let rows = StartConfig::explain(Some(&path), variables, "h").expect("good settings");
    let row = |name: &str| rows.iter().find(|row| row.setting == name).unwrap_or_else(|| panic!("{name} is missing"));
    let line = |n: u32| format!("{} line {n}", path.display());
    assert_eq!((row("slots").value.as_str(), row("slots").origin.clone()), ("3", line(1)));
    assert_eq!((row("labels.zone").value.as_str(), row("labels.zone").origin.clone()), ("eu", line(4)));
    assert_eq!((row("http").value.as_str(), row("http").origin.as_str()), ("127.0.0.1:8800", "RELAIS_HTTP"));
    assert_eq!((row("min_free").value.as_str(), row("min_free").origin.as_str()), ("64MiB", ORIGIN_DEFAULT));
    assert!(rows.iter().all(|row| !row.value.contains("rl1.secret")), "{rows:?}");
    assert_eq!(row("token").origin, "RELAIS_JOIN_TOKEN");
}
