//! Seeded changes to an input: what a fuzzer without feedback does.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Changes in one go, at most.
const CHANGES_MAX: u32 = 6;
/// Inputs grow no longer.
const BYTES_MAX: usize = 64 << 10;
/// Numbers at which readers go wrong.
const EDGES: [u64; 9] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, u64::MAX];

/// Makes inputs out of others. One seed always makes the same.
pub struct Mutator(StdRng);

impl Mutator {
    /// With this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// One of `corpus`, changed here and there.
    pub fn next(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus.get(self.below(corpus.len())).cloned().unwrap_or_default();
        for _ in 0..self.0.random_range(1..=CHANGES_MAX) {
            self.change(&mut bytes, corpus);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }

    fn change(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let end = at + self.below((bytes.len() - at).min(64) + 1);
        match self.0.random_range(0..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.0.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = self.0.random(),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let random: Vec<u8> = (0..self.0.random_range(1..16)).map(|_| self.0.random()).collect();
                bytes.splice(at..at, random);
            }
            5 => bytes.truncate(at),
            6 => {
                let other = corpus.get(self.below(corpus.len())).map_or(&[][..], Vec::as_slice);
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => self.edge(bytes, at),
        }
    }

    /// Writes a number that is on the edge of something, in one of the widths and orders.
    fn edge(&mut self, bytes: &mut [u8], at: usize) {
        let number = EDGES[self.below(EDGES.len())];
        let (width, big) = (1 << self.0.random_range(0..4), self.0.random());
        let text = if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let text = if big { &text[8 - width..] } else { &text[..width] };
        if let Some(place) = bytes.get_mut(at..at + width) {
            place.copy_from_slice(text);
        }
    }
}
