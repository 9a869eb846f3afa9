//! # Guarantees
//!
//! What Relais promises in each mode, what it does not, what each acknowledgement means, and which test shows
//! it. Everything named here is run by `cargo test --workspace --release`, unless a longer command is given.
//!
//! ## What an acknowledgement means
//!
//! | answer | means |
//! |---|---|
//! | `201` with `durability: "majority"` | The job's record is on stable storage (after a real `fdatasync`) on a majority of the voters. Any one machine can die from then on, its disk included; with five voters any two |
//! | `201` with `durability: "single"` | The same, on the only copy that there is: a cluster of one node, or the survivor of a pair. If that disk is lost before another node has caught up, so is the job |
//! | `200` with `deduplicated: true` | The key is known: this is the first job's record, no second job was made |
//! | `202` to a cancel | The wish is on a majority and survives a failover; the job has ended only when it says so |
//! | `503` with `Retry-After`, or a broken connection | Nobody knows. Send the same again under the same key: if the first try did arrive, it is found, and there is one job |
//! | `507` with `Retry-After` | A majority of the voters has too little disk space. Nothing new is taken; what was on its way when that came about may yet be: send it again under the same key |
//!
//! An order to a worker, a settled report and an answer to a reader are told only after the entry that they
//! rest on is committed: an outcome can't be had before (`relais_dispatcher::ledger::Effects`).
//!
//! ## What holds in each mode
//!
//! | mode | survives | does not |
//! |---|---|---|
//! | `single` | a crash, a power cut: all that was acknowledged is there after the restart | the loss of its disk |
//! | `pair` | the loss of either node. The survivor takes over by itself after `takeover_after`, in a new generation, and says `running (limited)` | a cut cable without double work: with `takeover = available` both sides go on, jobs can run on both, and the heal keeps every job of either side and shows the duplicate executions. `tiebreak`, `fence` or `off` choose otherwise, and a witness ends the question |
//! | `witness` (2 + 1) | the loss of any one of the three; no split brain | two of the three: the rest refuses and says how to recover |
//! | `quorum` (3, 5, 7) | the loss of one, two, three voters at once, and more one after the other as workers take the seats (`replace_after`) | a majority lost for good: `relais cluster recover` goes on from the most complete survivor, and says which jobs are in doubt |
//!
//! ## The promises, and what shows them
//!
//! | promise | shown by |
//! |---|---|
//! | Nothing acknowledged is lost | checker `acked_is_kept` in the simulator (`world`), over real openraft and real stores (`replicas`), and in every row of the fault table (`faults`); power cut F15; damage F12, F13; 300 rounds of kill -9 |
//! | One terminal state per job, never changed | checkers `one_terminal` and `job_history` in all layers |
//! | At least once, and honest about it | checker `bounded_executions`; F2, F5 |
//! | One dispatcher per epoch | checker `one_dispatcher`; the exhaustive `model`; F4 with a late order and a late report |
//! | Sticky | checker `sticky`; `failover` |
//! | Running jobs survive a failover | `failover`, F3 |
//! | Replicas agree | checker `replicas_agree`; each minute in a running cluster (`relais_replicas_differ_total`) |
//! | Progress once faults stop | checker `progress`; F7, F8 |
//! | A pair's heal drops nothing and ends every job once | property tests of the merge; pair worlds of the simulator; F34 |
//! | A limit of a queue or key is never exceeded, a unique key makes one job, over failovers too | property tests of the ledger; checker `limits_hold`; `queues` |
//! | Each slot of a schedule makes one job | `schedules`, with three failovers; F9; the simulator |
//! | The end of a job with a webhook is told at least once, and what was told is true | the simulator's courier (`ends-are-told`, `told-once`); `webhooks`, with the dispatcher killed before anybody listens |
//! | A job starts only after all that it depends on, and is cancelled when it can never start | property tests of the ledger and of the merge; `graph`, 1,000 jobs with a failover |
//!
//! That the checkers can fail is shown by planted bugs (`world`, `planted`, `replicas`): each must be found.
//!
//! ## What is not promised
//!
//! - *Exactly once.* A job whose node was lost runs again (`on_lost`), and the first run may have had effects.
//!   `RELAIS_FENCE` grows with each attempt of a job, so that whoever is written to can refuse an older one.
//! - *Time.* Leases and elections count on the monotonic clocks of machines that are not faulty: a worker whose
//!   clock runs at half speed keeps its lease too long. Wall clocks are used for stamps and may be wrong.
//! - *Byzantine nodes.* A node with a valid certificate is believed.
//! - *Disks that lie.* An `fdatasync` that returns before the data is safe is not found out until the journal
//!   is opened again; what is found then is put aside, and a majority of such disks loses data.
//! - *For ever.* Ended jobs and their output are forgotten after `retention` (7 days), and beyond `retention_count`
//!   of them the oldest; one whose idempotency key still stands, or that another job waits for, is kept.
//! - *Limits across a split pair.* Each side keeps to them by itself.
//! - *Output.* A job's output is on the node that ran it; its last 4 KiB are in the record.
