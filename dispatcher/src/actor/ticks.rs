//! When the dispatcher's actor looks at the clock: often where it may reign, seldom on a node that only works. It
//! measures no time itself.

use super::DispatcherActor;
use crate::core::Input;
use actix::prelude::*;
use std::time::Duration;

/// How often the core looks at the clock.
const EVERY: Duration = Duration::from_millis(20);
/// The same where others vote, so that no reign begins.
const LOOKING_ON_EVERY: Duration = Duration::from_millis(500);

impl DispatcherActor {
    /// Looks at the clock after a while, and then again and again.
    pub(super) fn tick_later(&self, ctx: &mut Context<Self>) {
        let looks_on = self.core.reign().is_none() && self.parts.outlet.looks_on();
        ctx.run_later(if looks_on { LOOKING_ON_EVERY } else { EVERY }, |actor, ctx| {
            actor.step(Input::Voters(actor.parts.outlet.voters()), ctx);
            actor.step(Input::Tick, ctx);
            actor.turn(ctx);
            actor.show_turn();
            if !actor.core.has_work() {
                actor.progress();
            }
            actor.tick_later(ctx);
        });
    }
}
