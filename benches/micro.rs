//! `cargo bench -p relais-benches --bench micro`: the parts by themselves. Codec, ledger, placement, one short and one
//! long queue, and what the store takes for an entry on the disk that `RELAIS_BENCH_DIR` names.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use relais_benches::solo::{BATCH, Solo};
use relais_benches::store::Stored;
use relais_protocol::codec;
use relais_protocol::record::{BATCH_DECODE_CAP, Batch};
use relais_protocol::spec::{Labels, Requires};
use std::hint::black_box;
use std::time::Duration;

const RECORDS: Throughput = Throughput::Elements(BATCH as u64);

fn codec_of_a_batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    let mut solo = Solo::new(1, 0);
    let records = solo.submits(BATCH);
    let bytes = solo.encode(records);
    let decode = |bytes: &[u8]| codec::decode::<Batch>(codec::FORMAT, bytes, BATCH_DECODE_CAP);
    let batch = decode(&bytes).expect("a batch that was just encoded");
    group.throughput(RECORDS);
    group.bench_function("encode 500 submits", |bench| bench.iter(|| codec::encode(codec::FORMAT, black_box(&batch))));
    group.bench_function("decode 500 submits", |bench| bench.iter(|| decode(black_box(&bytes))));
    group.finish();
}

fn ledger_apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger");
    group.throughput(RECORDS).sample_size(30);
    group.bench_function("apply 500 submits that wait", |bench| {
        let mut solo = Solo::new(3, 0);
        let fresh = |solo: &mut Solo| {
            let records = solo.submits(BATCH);
            solo.encode(records)
        };
        bench.iter_custom(|rounds| timed(rounds, &mut solo, fresh, |solo, bytes| drop(solo.apply(&bytes))));
    });
    group.bench_function("500 jobs come, run and end", |bench| {
        bench.iter_batched(
            || Solo::new(3, 256),
            |mut solo| {
                solo.fill(BATCH);
                solo.drain();
                solo
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// The time of `work` alone, over so many rounds on one ledger, begun anew before it grows large.
fn timed<T>(
    rounds: u64,
    solo: &mut Solo,
    mut prepare: impl FnMut(&mut Solo) -> T,
    mut work: impl FnMut(&mut Solo, T),
) -> Duration {
    let mut sum = Duration::ZERO;
    for round in 0..rounds {
        if round % 200 == 199 {
            *solo = Solo::new(3, 0);
        }
        let prepared = prepare(solo);
        let start = tokio::time::Instant::now();
        work(solo, prepared);
        sum += start.elapsed();
    }
    sum
}

fn placement(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("placement");
    group.throughput(RECORDS).sample_size(20);
    let asking = Requires { cpu_millis: 10, ..Requires::default() };
    let nowhere = Requires { labels: Labels::from([("zone".to_owned(), "none".to_owned())]), ..Requires::default() };
    for (what, nodes, requires) in [
        ("on 3 nodes", 3, &Requires::default()),
        ("on 60 nodes", 60, &Requires::default()),
        ("on 60 nodes, asking for cores", 60, &asking),
        ("that fit on none of 60 nodes", 60, &nowhere),
    ] {
        group.bench_function(BenchmarkId::new("500 jobs", what), |bench| {
            let fresh = || {
                let mut solo = Solo::new(nodes, 512 / nodes + 1);
                solo.require(requires.clone());
                let records = solo.submits(BATCH);
                let bytes = solo.encode(records);
                (solo, bytes)
            };
            bench.iter_batched(
                fresh,
                |(mut solo, bytes)| {
                    solo.apply(&bytes);
                    solo
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// A job comes and another ends, while so many wait in one queue.
fn one_queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one queue");
    for waiting in [1_000, 1_000_000] {
        let mut solo = Solo::new(3, 64);
        solo.fill(waiting + 3 * 64);
        solo.keep();
        group.bench_function(BenchmarkId::new("a job comes, another ends", waiting), |bench| {
            bench.iter(|| solo.turn());
        });
    }
    group.finish();
}

fn store_append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("store");
    let stored = match Stored::open() {
        Ok(stored) => stored,
        Err(failed) => return println!("SKIPPED: the store: {failed}"),
    };
    group.sample_size(30);
    for (what, records) in [("1 record", 1), ("500 records", BATCH)] {
        let mut solo = Solo::new(1, 0);
        let records = solo.submits(records);
        let bytes = solo.encode(records);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("append, sync and commit", what), |bench| {
            bench.iter(|| stored.append(&bytes));
        });
    }
    group.finish();
}

criterion_group!(parts, codec_of_a_batch, ledger_apply, placement, one_queue, store_append);
criterion_main!(parts);
