//! Jobs that wait, in the order in which they came: a sorted set in some fifteen bytes a job.
//!
//! Neighbours lie in one chunk, each told by how it differs from the one before it: milliseconds and places in
//! the journal are close by, and so are the first bytes of ids, which begin with a time. The first of a chunk lies
//! open, so that what is asked most, to take the first and to put one last, unpacks one job and not all.

use relais_protocol::ids::JobId;
use relais_protocol::job::Place;
use relais_protocol::time::UnixMs;
use std::collections::VecDeque;

/// When a job came: when it was submitted, or could start for the first time; then its place in the journal, and
/// its id.
pub(super) type Came = (UnixMs, Place, JobId);

/// Jobs in a chunk, at most.
const CHUNK: usize = 64;

/// Neighbours, one at least.
#[derive(Clone, Debug)]
struct Chunk {
    first: Came,
    last: Came,
    len: usize,
    /// What follows the first, from `start` on, each as it differs from the one before it.
    rest: Vec<u8>,
    start: usize,
}

/// A sorted set.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd {
    chunks: VecDeque<Chunk>,
}

fn push_number(into: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn take_number(from: &[u8], at: &mut usize) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = from[*at];
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}

/// Packs `next`, which follows `before`.
fn push(into: &mut Vec<u8>, before: Came, next: Came) {
    push_number(into, next.0.0.wrapping_sub(before.0.0));
    let step = next.1.0.wrapping_sub(before.1.0) as i64;
    // The sign goes last, so that a small step back is a small number, too.
    push_number(into, (step << 1 ^ step >> 63) as u64);
    let shared = (next.2.0 ^ before.2.0).leading_zeros() as usize / 8;
    into.push(shared as u8);
    into.extend_from_slice(&next.2.0.to_be_bytes()[shared..]);
}

/// Unpacks what follows `before`.
fn take(from: &[u8], at: &mut usize, before: Came) -> Came {
    let time = before.0.0.wrapping_add(take_number(from, at));
    let step = take_number(from, at);
    let place = before.1.0.wrapping_add(step >> 1 ^ (step & 1).wrapping_neg());
    let shared = usize::from(from[*at]);
    *at += 1;
    let mut id = before.2.0.to_be_bytes();
    id[shared..].copy_from_slice(&from[*at..*at + 16 - shared]);
    *at += 16 - shared;
    (UnixMs(time), Place(place), JobId(u128::from_be_bytes(id)))
}

impl Chunk {
    fn new(sorted: &[Came]) -> Self {
        let mut rest = Vec::new();
        for pair in sorted.windows(2) {
            push(&mut rest, pair[0], pair[1]);
        }
        rest.shrink_to_fit();
        Self { first: sorted[0], last: sorted[sorted.len() - 1], len: sorted.len(), rest, start: 0 }
    }

    fn iter(&self) -> impl Iterator<Item = Came> {
        let (mut at, mut last) = (self.start, self.first);
        let following = (1..self.len).map(move |_| {
            last = take(&self.rest, &mut at, last);
            last
        });
        std::iter::once(self.first).chain(following)
    }

    fn push_last(&mut self, came: Came) {
        push(&mut self.rest, self.last, came);
        self.last = came;
        self.len += 1;
        if self.len == CHUNK {
            self.rest.shrink_to_fit();
        }
    }

    /// Takes the first out of two or more.
    fn pop_first(&mut self) {
        self.first = take(&self.rest, &mut self.start, self.first);
        self.len -= 1;
    }
}

impl Crowd {
    /// The chunk in which `came` is, if it is anywhere.
    fn chunk_of(&self, came: Came) -> usize {
        self.chunks.partition_point(|chunk| chunk.first <= came).saturating_sub(1)
    }

    /// Puts a job in, if it is not there.
    pub(super) fn insert(&mut self, came: Came) {
        let at = self.chunk_of(came);
        let is_last = at + 1 >= self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push_back(Chunk::new(&[came]));
            return;
        };
        if is_last && came > chunk.last {
            if chunk.len < CHUNK {
                chunk.push_last(came);
            } else {
                self.chunks.push_back(Chunk::new(&[came]));
            }
            return;
        }
        let mut all: Vec<Came> = chunk.iter().collect();
        let Err(position) = all.binary_search(&came) else { return };
        all.insert(position, came);
        let (one, other) = all.split_at(if all.len() > CHUNK { all.len() / 2 } else { all.len() });
        *chunk = Chunk::new(one);
        if !other.is_empty() {
            self.chunks.insert(at + 1, Chunk::new(other));
        }
    }

    /// Takes a job out.
    pub(super) fn remove(&mut self, came: Came) {
        let at = self.chunk_of(came);
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        if chunk.first == came && chunk.len > 1 {
            chunk.pop_first();
            return;
        }
        let mut all: Vec<Came> = chunk.iter().collect();
        let Ok(position) = all.binary_search(&came) else { return };
        all.remove(position);
        if all.is_empty() {
            self.chunks.remove(at);
            self.give_back();
        } else {
            *chunk = Chunk::new(&all);
        }
    }

    /// After a million jobs there is not to be room for a million more.
    fn give_back(&mut self) {
        if self.chunks.capacity() > 64 && self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Who came first.
    pub(super) fn first(&self) -> Option<Came> {
        self.chunks.front().map(|chunk| chunk.first)
    }

    /// How many are before the first that `is_before` does not hold for.
    pub(super) fn count_while(&self, is_before: impl Fn(Came) -> bool) -> usize {
        let whole = self.chunks.partition_point(|chunk| is_before(chunk.last));
        let part = self.chunks.get(whole).map_or(0, |chunk| chunk.iter().take_while(|came| is_before(*came)).count());
        self.chunks.range(..whole).map(|chunk| chunk.len).sum::<usize>() + part
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Came> {
        self.chunks.iter().flat_map(Chunk::iter)
    }
}

/// However they lie in chunks.
impl PartialEq for Crowd {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Crowd {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn any_came() -> impl Strategy<Value = Came> {
        let time = prop_oneof![0u64..20, any::<u64>()];
        let place = prop_oneof![0u64..40, any::<u64>()];
        let id = prop_oneof![0u128..300, any::<u128>()];
        (time, place, id).prop_map(|(time, place, id)| (UnixMs(time), Place(place), JobId(id)))
    }

    fn check(crowd: &Crowd, model: &BTreeSet<Came>) {
        assert!(crowd.iter().eq(model.iter().copied()), "{crowd:?} is not {model:?}");
        assert_eq!(crowd.first(), model.first().copied());
        assert_eq!(crowd.is_empty(), model.is_empty());
        assert!(crowd.chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len)));
        for limit in model.iter().step_by(7) {
            assert_eq!(crowd.count_while(|came| came < *limit), model.range(..limit).count());
        }
    }

    proptest! {
        #[test]
        fn a_crowd_is_a_sorted_set(came in proptest::collection::vec(any_came(), 1..300), seed: u64) {
            let (mut crowd, mut model) = (Crowd::default(), BTreeSet::new());
            for came in &came {
                crowd.insert(*came);
                crowd.insert(*came);
                model.insert(*came);
            }
            check(&crowd, &model);
            let mut dice = seed;
            while !model.is_empty() {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Mostly the first, as in life.
                let at = if dice >> 62 == 0 { (dice >> 33) as usize % model.len() } else { 0 };
                let came = *model.iter().nth(at).unwrap();
                crowd.remove(came);
                crowd.remove(came);
                model.remove(&came);
                if model.len() % 16 == 0 {
                    check(&crowd, &model);
                }
            }
            prop_assert!(crowd.is_empty() && crowd == Crowd::default());
        }
    }

    #[test]
    fn who_waits_takes_little_room() {
        let mut crowd = Crowd::default();
        for n in 0..100_000u64 {
            // Ids of one millisecond are in no order.
            let id = u128::from(n / 50) << 80 | u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 8;
            crowd.insert((
                UnixMs(n / 50),
                Place::new(relais_protocol::ids::Index(n / 500), (n % 500) as usize),
                JobId(id),
            ));
        }
        let rest: usize = crowd.chunks.iter().map(|chunk| chunk.rest.capacity()).sum();
        let all = rest + crowd.chunks.capacity() * size_of::<Chunk>();
        assert!(all < 100_000 * 20, "{all} bytes for 100,000");
        for came in crowd.clone().iter() {
            crowd.remove(came);
        }
        assert!(crowd.is_empty() && crowd.chunks.capacity() <= 64);
    }
}
