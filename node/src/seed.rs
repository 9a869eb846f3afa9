//! Where randomness comes from: the operating system, here and nowhere else.
//!
//! Pure cores take a seed in their constructor and never come here. What must not be guessed (secrets,
//! tokens) is drawn straight from the system by [`secret_bytes`]; what must only be unlike others (job
//! ids, cluster ids, jitter) from a generator per thread that the system seeded.

use crate::clock::Clock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use relais_protocol::ids::JobId;
use ring::rand::{SecureRandom, SystemRandom};
use std::cell::RefCell;

thread_local! {
    static RNG: RefCell<StdRng> = RefCell::new(from_system());
}

#[expect(clippy::disallowed_methods, reason = "the one place where a generator is seeded by the system")]
fn from_system() -> StdRng {
    StdRng::from_os_rng()
}

/// 128 random bits.
#[must_use]
pub fn random_u128() -> u128 {
    RNG.with_borrow_mut(Rng::random)
}

/// 64 random bits: a seed for a core, or a jitter.
#[must_use]
pub fn random_u64() -> u64 {
    RNG.with_borrow_mut(Rng::random)
}

/// A new job id: UUID version 7, stamped with the wall clock.
#[must_use]
pub fn new_job_id(clock: &Clock) -> JobId {
    JobId::v7(clock.unix().0, random_u128())
}

/// The system had no randomness to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes; is getrandom(2) forbidden to this process?")]
pub struct NoRandomness;

/// `N` bytes that nobody can guess.
///
/// # Errors
/// If the operating system has none.
pub fn secret_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn nothing_is_drawn_twice() {
        let ids: BTreeSet<_> = (0..10_000).map(|_| new_job_id(&Clock::new())).collect();
        assert_eq!(ids.len(), 10_000);
        assert_ne!(secret_bytes::<16>(), secret_bytes::<16>());
        let elsewhere = std::thread::spawn(random_u128).join().unwrap();
        assert_ne!(elsewhere, random_u128());
    }
}
