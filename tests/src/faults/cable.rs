//! F7 with real interfaces: each node in a network namespace of its own, the cable cut by nftables, silently
//! (DROP) or with an ICMP answer (REJECT). Needs root, `ip` and `nft`; says why where it can't be done.

use super::partition::out_of_reach;
use super::{Run, Scene};
use crate::cluster::{Cluster, Options, Place};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

const HTTP_PORT: u16 = 7_700;
const QUIC_PORT: u16 = 7_800;
/// The last byte of the test's own address; the nodes have 1, 2, 3.
const OWN: u8 = 254;

/// Namespaces on one bridge. They end with their value.
struct Wires {
    /// The first part of all names.
    tag: String,
    count: usize,
}

/// Runs a command; what it complained about, if it failed.
fn done(command: &str, input: &str) -> Result<(), String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let child = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| format!("{} can't be run: {error}", words[0]))?;
    let mut stdin = child.stdin.take().expect("a pipe");
    // Who ended without reading says why.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("`{command}`: {said}")) }
}

impl Wires {
    fn lay(count: usize) -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("network namespaces need root".to_owned());
        }
        let wires = Self { tag: format!("rl{}", std::process::id()), count };
        // What a run before left behind, if it was killed.
        wires.take_down();
        let tag = &wires.tag;
        done(&format!("ip link add {tag}b type bridge"), "")?;
        done(&format!("ip addr add {}/24 dev {tag}b", address(OWN)), "")?;
        done(&format!("ip link set {tag}b up"), "")?;
        for number in 0..count {
            wires.attach(number)?;
        }
        Ok(wires)
    }

    fn attach(&self, number: usize) -> Result<(), String> {
        let (tag, own) = (&self.tag, address(number as u8 + 1));
        let space = self.space(number);
        done(&format!("ip netns add {space}"), "")?;
        done(&format!("ip link add {tag}o{number} type veth peer name {tag}i{number}"), "")?;
        done(&format!("ip link set {tag}i{number} netns {space}"), "")?;
        done(&format!("ip link set {tag}o{number} master {tag}b up"), "")?;
        done(&format!("ip -n {space} addr add {own}/24 dev {tag}i{number}"), "")?;
        done(&format!("ip -n {space} link set {tag}i{number} up"), "")?;
        done(&format!("ip -n {space} link set lo up"), "")?;
        // Whether rules can be had is to be known before anything depends on it.
        self.cut(number, "drop")?;
        self.heal(number)
    }

    fn space(&self, number: usize) -> String {
        format!("{}n{number}", self.tag)
    }

    /// Nothing passes between the nodes' QUIC ports there; the API is still to be reached.
    fn cut(&self, number: usize, verdict: &str) -> Result<(), String> {
        let rules = format!(
            "table inet cut {{\n chain in {{ type filter hook input priority 0; udp dport {QUIC_PORT} {verdict}; }}\n \
             chain out {{ type filter hook output priority 0; udp dport {QUIC_PORT} {verdict}; }}\n}}\n"
        );
        done(&format!("ip netns exec {} nft -f -", self.space(number)), &rules)
    }

    fn heal(&self, number: usize) -> Result<(), String> {
        done(&format!("ip netns exec {} nft delete table inet cut", self.space(number)), "")
    }

    fn places(&self) -> Vec<Place> {
        let place = |number: usize| {
            let ip = address(number as u8 + 1);
            let under = format!("ip netns exec {}", self.space(number));
            Place {
                http: SocketAddr::from((ip, HTTP_PORT)),
                quic: SocketAddr::from((ip, QUIC_PORT)),
                under: under.split(' ').map(str::to_owned).collect(),
            }
        };
        (0..self.count).map(place).collect()
    }

    fn take_down(&self) {
        for number in 0..self.count {
            // It may not have come so far.
            let _ = done(&format!("ip netns del {}", self.space(number)), "");
            let _ = done(&format!("ip link del {}o{number}", self.tag), "");
        }
        let _ = done(&format!("ip link del {}b", self.tag), "");
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.take_down();
    }
}

/// A private network of this process.
fn address(last: u8) -> Ipv4Addr {
    let pid = std::process::id();
    Ipv4Addr::new(10, 64 + (pid >> 8 & 0x3f) as u8, (pid & 0xff) as u8, last)
}

fn cable(run: &mut Run, verdict: &str) {
    let wires = match Wires::lay(3) {
        Ok(wires) => wires,
        Err(why) => return run.skip(why),
    };
    let scene = Scene::start(3, Options { places: wires.places(), ..Options::default() });
    let cut = |_: &Cluster, node| wires.cut(node, verdict).expect("it could be cut before");
    out_of_reach(scene, run, cut, |_, node| wires.heal(node).expect("it could be healed before"));
}

/// Packets vanish.
pub(super) fn dropped(run: &mut Run) {
    cable(run, "drop");
}

/// Packets are answered with an ICMP message.
pub(super) fn rejected(run: &mut Run) {
    cable(run, "reject");
}
