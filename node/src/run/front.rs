//! The HTTP API of this node, as other nodes ask it. The server keeps the API alive; once it is gone nobody is answered.

use crate::backend::{Passed, PassedHead, PassedOn};
use crate::http::Api;
use crate::hub::Front;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use std::sync::{Arc, Weak};

/// [`Front`] of an API.
pub(super) struct ApiFront(Weak<Api>);

impl ApiFront {
    pub(super) fn of(api: &Arc<Api>) -> Box<dyn Front> {
        Box::new(Self(Arc::downgrade(api)))
    }
}

impl Front for ApiFront {
    fn token(&self, hex: &[u8]) -> Vec<u8> {
        self.0.upgrade().map(|api| api.token_standing(hex)).unwrap_or_default()
    }

    fn answer(&self, request: PassedOn) -> BoxFuture<'static, Passed> {
        let api = self.0.upgrade();
        async move {
            match api {
                Some(api) => api.answer_passed_on(request).await,
                None => {
                    Passed { head: PassedHead { status: 503, ..PassedHead::default() }, body: stream::empty().boxed() }
                }
            }
        }
        .boxed()
    }
}
