//! When the worker's actor looks at the clock: often while something runs or waits to be settled, else seldom. It
//! measures no time itself.

use super::WorkerActor;
use crate::core::Input;
use actix::prelude::*;
use std::time::Duration;

/// How often the core looks at the clock.
const EVERY: Duration = Duration::from_millis(25);
/// The same while there is nothing to do but to say so once in a while.
const IDLE_EVERY: Duration = Duration::from_millis(500);

impl WorkerActor {
    /// Looks at the clock after a while, and then again and again.
    pub(super) fn tick_later(&self, ctx: &mut Context<Self>) {
        let core = &self.parts.core;
        let is_idle = core.running() == 0 && core.unsettled().len() == 0;
        ctx.run_later(if is_idle { IDLE_EVERY } else { EVERY }, |actor, ctx| {
            actor.step(Input::Tick, ctx);
            actor.turn(ctx);
            actor.keep_unsettled();
            actor.tick_later(ctx);
        });
    }
}
