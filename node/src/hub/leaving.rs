//! What a node does for itself at its start and its end.

use super::Hub;
use relais_protocol::record::{Record, Token, TokenRole};
use relais_worker::core::Input;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a join token is good for, in ms.
const TOKEN_MS: u64 = 24 * 3_600_000;

impl Hub {
    /// Takes nothing new; ends when nothing runs here any more and every end is written down.
    pub async fn finish(self: Arc<Self>) {
        self.pulse.ready(false);
        self.bench.input(Input::Finish);
        loop {
            let state = self.bench.state();
            if state.running == 0 && state.unsettled == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills what runs here and says goodbye; ends when that was heard, or can't be.
    pub async fn leave(self: Arc<Self>) {
        self.leaving.store(true, Ordering::Release);
        let left = self.left.notified();
        self.bench.input(Input::Leave);
        left.await;
    }

    /// Makes a join token: its text, and where to join.
    ///
    /// # Errors
    /// When it could not be committed.
    pub async fn make_join_token(self: Arc<Self>) -> Result<(String, String), String> {
        let now = self.clock.unix();
        let (text, hash, at) = self.new_join_token(now.plus(TOKEN_MS))?;
        let token = Token {
            id: crate::seed::random_u64(),
            name: "start".to_owned(),
            role: TokenRole::Join,
            hash,
            created_at: now,
            expires_at: Some(now.plus(TOKEN_MS)),
        };
        loop {
            self.clone().found_cluster().await;
            let record = Record::TokenMade(Box::new(token.clone()));
            let founded = self.machine.read().cluster().is_some();
            if founded && self.clone().propose_anywhere(vec![record]).await.is_ok() {
                return Ok((text, at));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
