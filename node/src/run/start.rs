//! Starting a node: its parts, in the order in which they need each other.

use super::engine::Engine;
use super::facts::facts;
use super::front::ApiFront;
use super::identity::{self, Found};
use super::ward::{self, Stopping};
use super::worker::{Offer, start_worker};
use super::{StartFailed, fail_stop};
use crate::clock::Clock;
use crate::config::StartConfig;
use crate::datadir::{DataDir, DirOptions};
use crate::hooks;
use crate::http;
use crate::hub::{DispatchOutlet, Hub, HubBackend, HubInbound, HubParts, JournalLink, Me, watch_journal};
use crate::identity::Identity;
use crate::net::{Net, NetConfig, VersionRange};
use crate::seed;
use actix_rt::ArbiterHandle;
use relais_dispatcher::actor::DispatcherParts;
use relais_dispatcher::core::CoreConfig;
use relais_dispatcher::journal::{self, Journal, Opened, PlantedBug, RaftJournal, Store, StoreOptions, SyncMode};
use relais_protocol::ids::RaftId;
use relais_worker::executor::clear_work_folder;
use relais_worker::output::Output;
use relais_worker::spawner::Spawner;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// The versions of the protocol that this build speaks.
const VERSIONS: VersionRange = VersionRange { min: 1, max: 1 };
/// `1` takes a copied data directory for the original: for a restore, when the original is gone for good.
const ACCEPT_MOVED_ENV: &str = "RELAIS_ACCEPT_MOVED";
/// How long the first node may take to found its cluster.
const FOUND_LIMIT: Duration = Duration::from_secs(20);

/// A running node.
pub(super) struct Running {
    pub(super) hub: Arc<Hub>,
    pub(super) journal: Arc<RaftJournal>,
    pub(super) net: Net,
    pub(super) server: actix_web::dev::ServerHandle,
    pub(super) stopping: Stopping,
}

/// Starts a node.
pub(super) async fn start(
    config: StartConfig,
    offer: Option<Offer<'_>>,
    engine: &Engine,
) -> Result<Running, StartFailed> {
    let arbiter = engine.arbiter().clone();
    let engine = engine.handle();
    let clock = Clock::from_env();
    ports_free(&config)?;
    let spawner = if config.witness { None } else { Some(spawner()?) };
    let accept_moved = std::env::var_os(ACCEPT_MOVED_ENV).is_some_and(|value| value == "1");
    let options = DirOptions { accept_moved, ..DirOptions::default() };
    let mut dir = open_dir(&config, &options)?;
    if config.join.is_none() && !Identity::exists(&dir.folders().identity()) {
        if config.witness {
            let reason = "a witness can't begin a cluster: it never dispatches; start it with --join ADDR --token T";
            return Err(StartFailed(reason.to_owned()));
        }
        // A new cluster has no token yet: better refused now than when it is founded.
        http::may_bind(config.http, false, config.insecure_http).map_err(StartFailed)?;
    }
    let Found { identity, founded } = identity::find(&config, &mut dir, &clock).await?;
    let store = open_store(&mut dir, identity.node).await?;
    let me = Me { node: identity.node, name: dir.node().name.clone(), incarnation: dir.node().incarnation };
    let output =
        Output::open(dir.folders().output()).map_err(|e| StartFailed(format!("cannot open the output folder: {e}")))?;
    if let Err(error) = clear_work_folder(&dir.folders().work()) {
        tracing::warn!(%error, "folders of the last run could not be removed");
    }
    let mut facts = facts(&config, &me);
    if !config.witness {
        facts.kinds = offer.iter().flat_map(|offer| offer.handlers.kinds()).map(str::to_owned).collect();
    }
    let (work_dir, reign) = (dir.folders().work(), dir.node().reign);
    let seed = seed::random_u64();
    let parts = HubParts {
        me: me.clone(),
        clock: clock.clone(),
        engine: engine.clone(),
        dir,
        identity,
        facts,
        output,
        seed,
        min_free: config.min_free,
    };
    let hub = Hub::new(parts).map_err(|e| StartFailed(format!("no thread to write with: {e}")))?;
    let net = start_net(&config, &hub)?;
    let journal = start_journal(&hub, store, engine).await?;
    if founded {
        journal.found().await.map_err(|error| StartFailed(format!("the journal could not be founded: {error}")))?;
    }
    let stopping = Stopping::default();
    start_dispatcher(&hub, arbiter, journal.clone(), &stopping);
    start_worker(&hub, spawner, offer, (work_dir, reign), &stopping);
    engine.spawn(watch_journal(hub.clone(), journal.clone()));
    engine.spawn(hub.clone().keep_house());
    engine.spawn(hub.clone().look_over());
    engine.spawn(hub.clone().watch_limits());
    engine.spawn(hub.clone().watch_peer());
    engine.spawn(hub.clone().watch_history());
    engine.spawn(hub.clone().run_gossip());
    engine.spawn(hub.clone().compare_replicas());
    engine.spawn(hub.clone().compare_clocks());
    engine.spawn(hub.clone().remove_leftovers());
    engine.spawn(hooks::deliver(hub.clone()));
    hub.pulse.start(Arc::downgrade(&hub), seed).map_err(|e| StartFailed(format!("no thread for heartbeats: {e}")))?;
    let join_line = if founded { Some(first_join_line(&hub).await?) } else { None };
    learn_tokens(&config, &hub).await;
    let server = start_http(&config, &hub, founded)?;
    tell(&config, &hub, join_line.as_deref());
    Ok(Running { hub, journal, net, server, stopping })
}

/// Opens the data directory, unless a newer version made it: then nothing in it is touched.
fn open_dir(config: &StartConfig, options: &DirOptions) -> Result<DataDir, StartFailed> {
    let journal = config.data_dir.join("journal/current");
    DataDir::refuse_newer(&config.data_dir).map_err(StartFailed::of)?;
    journal::check_format(&journal).map_err(StartFailed::of)?;
    match DataDir::open_with(&config.data_dir, options) {
        Err(error) if error.is_full_disk() && journal::release_ballast(&journal) => {
            tracing::warn!("the disk is full; gave back the ballast to open the data directory");
            DataDir::open_with(&config.data_dir, options)
        }
        opened => opened,
    }
    .map_err(StartFailed::of)
}

/// Looks at the ports before anything is written: a start that must fail is to leave nothing half done.
fn ports_free(config: &StartConfig) -> Result<(), StartFailed> {
    let taken = |kind: &str, addr: SocketAddr, flag: &str, error: std::io::Error| {
        StartFailed(format!(
            "cannot listen at {kind} {addr} ({error}); stop what uses it, or choose another address with {flag}"
        ))
    };
    TcpListener::bind(config.http).map_err(|error| taken("TCP", config.http, "--http", error))?;
    UdpSocket::bind(config.listen).map_err(|error| taken("UDP", config.listen, "--listen", error))?;
    Ok(())
}

fn spawner() -> Result<Spawner, StartFailed> {
    let program =
        std::env::current_exe().map_err(|e| StartFailed(format!("cannot find this program's own file: {e}")))?;
    Spawner::start(program, vec!["__spawner".to_owned()])
        .map_err(|e| StartFailed(format!("cannot start the process that starts jobs: {e}")))
}

/// Opens the journal; a damaged one is moved aside, and the node goes on under its next raft id.
async fn open_store(dir: &mut DataDir, node: relais_protocol::ids::NodeId) -> Result<Store, StartFailed> {
    loop {
        let raft = RaftId::new(node, dir.node().journal);
        let mut options =
            StoreOptions::new(dir.folders().journal().join("current"), raft, Arc::new(|reason| fail_stop(&reason)));
        options.sync = sync_mode();
        match journal::open(options).await.map_err(StartFailed::of)? {
            Opened::Clean(store) => {
                tracing::info!(raft = %store.id(), last = store.last_index(), "the journal is open");
                // A fork or a reset that this process did not live to write down.
                let journal = store.id().journal();
                if journal != dir.node().journal {
                    dir.update(|node| node.journal = journal).map_err(StartFailed::of)?;
                }
                return Ok(store);
            }
            Opened::Damaged { reason, found } => {
                // The next number is on disk before the old journal is out of the way: it is never used again.
                let last = found.map_or(0, RaftId::journal).max(dir.node().journal);
                dir.update(|node| node.journal = last + 1).map_err(StartFailed::of)?;
                let aside = journal::put_aside(&dir.folders().journal().join("current"))
                    .map_err(|e| StartFailed(format!("the damaged journal could not be moved aside: {e}")))?;
                tracing::error!(reason, aside = %aside.display(), "the journal is damaged; it was moved aside, and this node rejoins under a new raft id");
            }
        }
    }
}

fn sync_mode() -> SyncMode {
    let delay = std::env::var("RELAIS_TEST_SYNC_DELAY_MS")
        .ok()
        .and_then(|ms| ms.parse().ok())
        .map_or(Duration::ZERO, Duration::from_millis);
    let planted = if relais_dispatcher::planted::sync_skipped() { PlantedBug::SkipFsync } else { PlantedBug::None };
    SyncMode { delay, planted, ..SyncMode::default() }
}

fn start_net(config: &StartConfig, hub: &Arc<Hub>) -> Result<Net, StartFailed> {
    let advertise = advertised(config)?;
    let net = Net::start(
        NetConfig {
            listen: config.listen,
            advertise: vec![advertise],
            http: Some(hub.facts.read().http.clone()),
            identity: hub.identity.read().clone(),
            name: hub.me.name.clone(),
            incarnation: hub.me.incarnation,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            versions: VERSIONS,
            clock: hub.clock.clone(),
            main_runtime: hub.engine.clone(),
        },
        Arc::new(HubInbound(Arc::downgrade(hub))),
    )
    .map_err(StartFailed::of)?;
    hub.facts.write().quic = advertise.to_string();
    hub.set_net(net.clone());
    Ok(net)
}

/// The QUIC address to tell other nodes: the one given, the one listened at, or the one that routes to the
/// join address.
fn advertised(config: &StartConfig) -> Result<SocketAddr, StartFailed> {
    if let Some(given) = &config.advertise {
        let resolved = given.resolve().ok().and_then(|addrs| addrs.first().copied());
        return resolved
            .ok_or_else(|| StartFailed(format!("the address `{given}` of --advertise can't be resolved; check it")));
    }
    if !config.listen.ip().is_unspecified() {
        return Ok(config.listen);
    }
    let towards = config.join.as_ref().and_then(|join| join.addr.resolve().ok()?.first().copied());
    let ip = routed(towards).or_else(|| routed(Some(SocketAddr::from(([192, 0, 2, 1], 9)))));
    let ip = ip.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    Ok(SocketAddr::new(ip, config.listen.port()))
}

/// The own address on the way to `towards`. Nothing is sent: connecting a UDP socket only picks a route.
fn routed(towards: Option<SocketAddr>) -> Option<IpAddr> {
    let towards = towards?;
    let any: IpAddr = if towards.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(towards).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}

async fn start_journal(hub: &Arc<Hub>, store: Store, engine: &Handle) -> Result<Arc<RaftJournal>, StartFailed> {
    let (machine, link) = (hub.machine.clone(), JournalLink::new(hub));
    let started = engine.spawn(async move { RaftJournal::start(store, machine, link).await });
    let journal = started.await.map_err(StartFailed::of)?.map_err(StartFailed::of)?;
    let journal = Arc::new(journal);
    // Closed before anybody can reach it.
    journal.close(hub.space_is_low());
    hub.set_journal(journal.clone());
    // One that only followed may have been given up since: it is read again once the dispatcher says that it follows.
    let status = journal.status().borrow().clone();
    hub.machine.stand_in(status.applied.is_some() && !status.voters.contains(&status.id));
    hub.note_journal().await.map_err(StartFailed)?;
    let (reign, dispatcher) = {
        let ledger = hub.machine.own();
        (ledger.reign(), ledger.dispatcher())
    };
    if let Some((node, incarnation)) = dispatcher {
        hub.pulse.promoted(reign, node, incarnation);
    }
    Ok(journal)
}

fn start_dispatcher(hub: &Arc<Hub>, arbiter: ArbiterHandle, journal: Arc<RaftJournal>, stopping: &Stopping) {
    let parts = DispatcherParts {
        config: CoreConfig { clock_compared: true, ..CoreConfig::default() },
        me: hub.me.node,
        incarnation: hub.me.incarnation,
        machine: hub.machine.clone(),
        journal,
        outlet: Arc::new(DispatchOutlet(hub.clone())),
    };
    let desk = hub.desk.clone();
    let start = move |ward| {
        let (parts, desk) = (parts.clone(), desk.clone());
        arbiter.spawn_fn(move || relais_dispatcher::actor::start(parts, &desk, ward));
    };
    let pulse = hub.pulse.clone();
    ward::keep("dispatcher", (hub.clock.clone(), hub.health.clone()), stopping.clone(), start, move || {
        pulse.dispatcher_died()
    });
}

/// A node that has just joined knows the cluster's tokens only when its ledger has come; whether HTTP may
/// be served to other machines hangs on them.
async fn learn_tokens(config: &StartConfig, hub: &Arc<Hub>) {
    let waits = async {
        while knows_nothing(hub) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if !config.http.ip().is_loopback() && !config.insecure_http {
        // Whoever knows of no token by then has the address refused, with the reason.
        let _ = tokio::time::timeout(FOUND_LIMIT, waits).await;
    }
}

/// Whether this node knows nothing of its cluster yet.
fn knows_nothing(hub: &Hub) -> bool {
    hub.machine.read().cluster().is_none()
}

fn start_http(
    config: &StartConfig,
    hub: &Arc<Hub>,
    founded: bool,
) -> Result<actix_web::dev::ServerHandle, StartFailed> {
    // Who keeps no journal and finds no dispatcher does not know of the tokens: it serves nobody from another machine
    // without one all the same, since each is asked after.
    let tokens = !founded && knows_nothing(hub)
        || hub.machine.read().tokens().any(|token| token.role != relais_protocol::record::TokenRole::Join);
    http::may_bind(config.http, tokens, config.insecure_http).map_err(StartFailed)?;
    let http_config = http::HttpConfig { addr: config.http, insecure: config.insecure_http, names: host_names(config) };
    let api = {
        // What follows the ledger's events for its clients does so where they come about.
        let _within = hub.engine.enter();
        http::Api::new(http_config, Arc::new(HubBackend(hub.clone())))
    };
    let (server, _) = api.serve().map_err(StartFailed::of)?;
    hub.set_front(ApiFront::of(&api));
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok(handle)
}

/// The host that clients are told to use may stand in their `Host`.
fn host_names(config: &StartConfig) -> Vec<String> {
    let url = config.advertise_http.as_deref().unwrap_or_default();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    if host.is_empty() { Vec::new() } else { vec![host.to_owned()] }
}

/// Says where the node is, and, of a new cluster, how others join.
fn tell(config: &StartConfig, hub: &Hub, join_line: Option<&str>) {
    println!("node {} `{}`: http://{}  QUIC {}", hub.me.node, hub.me.name, config.http, hub.facts.read().quic);
    if let Some(line) = join_line {
        println!("another machine joins with (for 24 h):\n  {line}");
    }
}

/// Founds the cluster and makes its first join token, before anybody can ask for anything.
async fn first_join_line(hub: &Arc<Hub>) -> Result<String, StartFailed> {
    let made = tokio::time::timeout(FOUND_LIMIT, hub.clone().make_join_token()).await;
    let (token, at) = made
        .map_err(|_| StartFailed("the cluster was not founded in time; the log says why".to_owned()))?
        .map_err(StartFailed)?;
    Ok(format!("relais start --join {at} --token {token}"))
}
