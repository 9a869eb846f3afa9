//! What the worker's actor needs of its node, and the output that it has captured.

use super::Hub;
use super::inbound::OrdersCall;
use crate::backend::{OutputChunk, OutputFailed, OutputStream};
use crate::net::Purpose;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use relais_protocol::codec;
use relais_protocol::ids::{JobId, NodeId, Reign};
use relais_protocol::message::{CALL_BYTES_MAX, CONTROL_BYTES_MAX, Report, ReportAnswer};
use relais_protocol::record::Finish;
use relais_protocol::time::Mono;
use relais_worker::actor::Outlet;
use relais_worker::output::{Stream, View};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A report is answered when what it settles is committed; a dispatcher that can't commit for so long has
/// not answered.
const REPORT_LIMIT: Duration = Duration::from_secs(2);
/// How long another node may take to read output.
const OUTPUT_LIMIT: Duration = Duration::from_secs(3);
/// Cap of an output message: a full chunk and its head.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Bytes of output in one chunk.
const CHUNK_BYTES_MAX: usize = 512 << 10;

/// [`Outlet`] of a hub.
pub struct WorkOutlet(pub Arc<Hub>);

impl Outlet for WorkOutlet {
    fn now(&self) -> Mono {
        self.0.clock.mono()
    }

    fn report(&self, to: NodeId, report: Report) -> BoxFuture<'static, Option<ReportAnswer>> {
        let hub = self.0.clone();
        async move { tokio::time::timeout(REPORT_LIMIT, hub.send_report(to, report)).await.ok().flatten() }.boxed()
    }

    fn remember(&self, reign: Reign) -> BoxFuture<'static, ()> {
        self.0.notebook.remember(reign).boxed()
    }

    fn keep(&self, unsettled: &[Finish]) {
        self.0.notebook.unsettled(codec::encode(codec::FORMAT, unsettled));
    }

    fn left(&self) {
        self.0.left.notify_waiters();
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct OutputQuestion {
    job: JobId,
    attempt: u16,
    stderr: bool,
    offset: u64,
    bytes_max: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct OutputAnswer {
    bytes: Vec<u8>,
    offset: u64,
    total: u64,
    ended: bool,
    truncated: bool,
}

impl Hub {
    /// Ends that the last run of this process left unreported.
    #[must_use]
    pub fn unsettled_of_last_run(&self) -> Vec<Finish> {
        let bytes = std::fs::read(self.folders.unsettled()).unwrap_or_default();
        codec::decode(codec::FORMAT, &bytes, CALL_BYTES_MAX).unwrap_or_default()
    }

    async fn send_report(self: Arc<Self>, to: NodeId, report: Report) -> Option<ReportAnswer> {
        if to == self.me.node {
            return Some(self.desk.report(report).await);
        }
        let request = Bytes::from(codec::encode_packed(codec::FORMAT, &OrdersCall::Report(Box::new(report))));
        let answer = self.net()?.call(to, Purpose::Orders, request, REPORT_LIMIT).await.ok()?;
        codec::decode(codec::FORMAT, &answer, CALL_BYTES_MAX).ok()
    }

    pub(super) async fn output_of(
        self: Arc<Self>,
        node: NodeId,
        job: JobId,
        attempt: u16,
        stream: OutputStream,
        offset: u64,
        bytes_max: usize,
    ) -> Result<OutputChunk, OutputFailed> {
        let stderr = stream == OutputStream::Stderr;
        let bytes_max = bytes_max.min(CHUNK_BYTES_MAX) as u64;
        let question = OutputQuestion { job, attempt, stderr, offset, bytes_max };
        let answer = if node == self.me.node {
            self.read_output(question).await.map_err(OutputFailed::Gone)?
        } else {
            let name = self.name_of(node).unwrap_or_else(|| node.to_string());
            let away = || OutputFailed::OutOfReach(name.clone());
            let request = Bytes::from(codec::encode(codec::FORMAT, &question));
            let bytes = self.reach(node, Purpose::Output, request, OUTPUT_LIMIT).await.map_err(|_| away())?;
            codec::decode(codec::FORMAT, &bytes, OUTPUT_BYTES_MAX).map_err(|e| OutputFailed::Gone(e.to_string()))?
        };
        let OutputAnswer { bytes, offset, total, ended, truncated } = answer;
        Ok(OutputChunk { bytes, offset, total, ended, truncated })
    }

    pub(super) async fn on_output_call(&self, request: &[u8]) -> Result<Bytes, String> {
        let question = codec::decode(codec::FORMAT, request, CONTROL_BYTES_MAX).map_err(|e| e.to_string())?;
        Ok(codec::encode(codec::FORMAT, &self.read_output(question).await?).into())
    }

    async fn read_output(&self, q: OutputQuestion) -> Result<OutputAnswer, String> {
        let view = View::Only(if q.stderr { Stream::Stderr } else { Stream::Stdout });
        let bytes_max = usize::try_from(q.bytes_max).unwrap_or(CHUNK_BYTES_MAX).min(CHUNK_BYTES_MAX);
        let chunk = self.output.read(q.job, q.attempt, view, q.offset, bytes_max).await;
        let chunk = chunk.map_err(|error| error.to_string())?;
        let offset = chunk.pieces.first().map_or(chunk.next, |piece| piece.offset);
        // One answer is one run of bytes: what comes after a hole is read by the next question.
        let mut bytes = Vec::new();
        for piece in &chunk.pieces {
            if piece.offset != offset + bytes.len() as u64 {
                break;
            }
            bytes.extend_from_slice(&piece.data);
        }
        Ok(OutputAnswer { bytes, offset, total: chunk.end, ended: !chunk.running, truncated: chunk.truncated })
    }
}
