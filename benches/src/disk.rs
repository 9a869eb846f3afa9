//! The limit of the disk: how often a second a plain loop writes a piece and syncs it. The file is as long
//! as it will get before the clock runs, as a good log's is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

const FILE_BYTES: usize = 16 << 20;

/// `pwrite` and `fdatasync` of `piece_bytes` in a file below `folder` for so long; times per second.
///
/// # Errors
/// When the disk does.
pub fn syncs_per_second(folder: &Path, piece_bytes: usize, time: Duration) -> io::Result<f64> {
    let path = folder.join("limit");
    let file = File::create(&path)?;
    file.write_all_at(&vec![1; FILE_BYTES], 0)?;
    file.sync_all()?;
    let piece = vec![7; piece_bytes];
    let start = Instant::now();
    let mut count = 0u64;
    while start.elapsed() < time {
        let at = count * piece_bytes as u64 % FILE_BYTES as u64;
        file.write_all_at(&piece, at)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}
