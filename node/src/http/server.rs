//! The sockets of the API: how many connections there may be, and for how long.
//!
//! A client that connects and says nothing costs its socket and little more: what HTTP needs is made once it speaks.
//! What it may take its time with from then on is the business of [`Connection`]. Further connections than
//! [`connections_max`] are not refused: they wait to be accepted, until one of those that are there is over.

use super::connection::Connection;
use super::{Api, ServeError, answer_http};
use crate::machine::{FILES_KEPT, open_files_max};
use actix_http::error::DispatchError;
use actix_http::{Extensions, HttpService, KeepAlive, Request};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_factory, fn_service, map_config,
};
use actix_web::dev::{AppConfig, Server};
use actix_web::{App, web};
use nix::sys::socket::{Backlog, listen};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Threads that serve requests.
const WORKERS: usize = 2;
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long the first byte may take, and the first head from then on.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a client may take to end its side.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 2_048;

/// Binds, and makes the server that runs once it is awaited or spawned.
pub(super) fn serve(api: &Arc<Api>, addr: SocketAddr) -> Result<(Server, SocketAddr), ServeError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => ServeError::InUse(addr),
        _ => ServeError::Bind(addr, error),
    };
    let listener = TcpListener::bind(addr).map_err(failed)?;
    // The standard library's queue is short.
    Backlog::new(BACKLOG).and_then(|backlog| listen(&listener, backlog)).map_err(|error| failed(error.into()))?;
    let bound = listener.local_addr().map_err(failed)?;
    let builder = Server::build()
        .workers(WORKERS)
        .max_concurrent_connections(connections_max())
        .shutdown_timeout(1)
        .disable_signals();
    let (api, stopping) = (api.clone(), builder.graceful_shutdown_signal());
    let builder = builder.listen("api", listener, move || {
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
            .client_request_timeout(HEAD_TIME_MAX)
            // Who hangs up waits for nothing any more: what is done for it ends, and a job that it waited for goes to
            // another.
            .h1_allow_half_closed(false)
            .client_disconnect_timeout(GOODBYE_MAX)
            .on_connect_ext(|connection: &Connection, data: &mut Extensions| {
                data.insert(connection.turn());
            });
        let app = App::new().app_data(web::Data::from(api.clone())).default_service(web::to(answer_http));
        let app = IntoServiceFactory::<_, Request>::into_factory(app).map_err(|error| error.error_response());
        let http = Rc::new(http.h1(map_config(app, |()| AppConfig::default())));
        fn_factory(move || {
            let http = http.clone();
            async move {
                let http = Rc::new(http.new_service(()).await?);
                Ok::<_, ()>(fn_service(move |io: TcpStream| {
                    let http = http.clone();
                    async move {
                        let peer = io.peer_addr().ok();
                        // A long answer is written in parts: the last one would wait until a client that delays
                        // its acknowledgements has said that it has the others. Without it, it only waits.
                        let _ = io.set_nodelay(true);
                        match timeout(HEAD_TIME_MAX, io.readable()).await {
                            Ok(Ok(())) => http.call((Connection::of(io), peer)).await,
                            Ok(Err(error)) => Err(DispatchError::Io(error)),
                            Err(_) => Err(DispatchError::SlowRequestTimeout),
                        }
                    }
                }))
            }
        })
    });
    Ok((builder.map_err(failed)?.run(), bound))
}

/// Connections of each worker. Where few file descriptors may be open, the journal and the other nodes come
/// first: further connections wait to be accepted.
fn connections_max() -> usize {
    const USUAL: u64 = 25_000;
    let files = open_files_max().unwrap_or(u64::MAX);
    let connections = files.saturating_sub(FILES_KEPT).max(FILES_KEPT / 8) / WORKERS as u64;
    usize::try_from(connections.min(USUAL)).unwrap_or(USUAL as usize)
}
