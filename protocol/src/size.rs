//! Amounts of memory and of processors as people write them: `512MiB`, `1.5` cores. Held as whole bytes and
//! thousandths of a core, so that sums of them are the same on every machine.

/// The most bytes that a size may say: 1 EiB.
pub const BYTES_MAX: u64 = 1 << 60;
/// The most thousandths of a core that a node may have, or a job ask for.
pub const CPU_MILLIS_MAX: u32 = 65_536_000;

const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// Reads `4096`, `512KiB`, `64MiB`, `1.5GiB` or `2TiB`, in bytes.
///
/// # Errors
/// What is wrong with it.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let shape = || "is no size; write it like 64MiB (KiB, MiB, GiB, TiB, or plain bytes)".to_owned();
    let unit = UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (number, shift) = unit.unwrap_or((text, 0));
    let thousandths = parse_thousandths(number.trim_end()).filter(|n| shift > 0 || n % 1_000 == 0);
    let bytes = (u128::from(thousandths.ok_or_else(shape)?) << shift) / 1_000;
    u64::try_from(bytes).ok().filter(|bytes| *bytes <= BYTES_MAX).ok_or_else(|| "is more than 1024 PiB".to_owned())
}

/// Reads `2` or `0.25` cores, in thousandths.
///
/// # Errors
/// What is wrong with it.
pub fn parse_cores(text: &str) -> Result<u32, String> {
    let thousandths = parse_thousandths(text).and_then(|n| u32::try_from(n).ok());
    thousandths.filter(|n| *n <= CPU_MILLIS_MAX).ok_or_else(|| {
        "is no number of cores; write it like 2 or 0.25 (from 0 to 65536, three decimals at most)".to_owned()
    })
}

/// `12` or `12.345`, digits alone, in thousandths.
fn parse_thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 {
        return None;
    }
    let part: u64 = format!("{part:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(part)
}

/// Writes a size so that [`parse_bytes`] reads back just that: `512MiB`.
#[must_use]
pub fn bytes_text(bytes: u64) -> String {
    let whole = UNITS.iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

/// Writes a size for people, cut to one decimal: `23.4 GiB`.
#[must_use]
pub fn rough_bytes_text(bytes: u64) -> String {
    let Some((unit, shift)) = UNITS.iter().find(|(_, shift)| bytes >> shift > 0) else { return format!("{bytes} B") };
    let tenths = (u128::from(bytes) * 10) >> shift;
    if tenths % 10 == 0 { format!("{} {unit}", tenths / 10) } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) }
}

/// Writes thousandths of a core as cores: `1.5`.
#[must_use]
pub fn cores_text(millis: u32) -> String {
    let text = format!("{}.{:03}", millis / 1_000, millis % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        let table = [
            ("0", 0),
            ("4096", 4_096),
            ("1KiB", 1 << 10),
            ("512MiB", 512 << 20),
            ("512 MiB", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("0.001KiB", 1),
            ("2TiB", 2 << 40),
            ("1048576TiB", BYTES_MAX),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
            assert_eq!(parse_bytes(&bytes_text(bytes)), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "-1MiB", "1.5", "1.MiB", ".5MiB", "1.2345GiB", "1GB", "1e3", "1048577TiB", "½GiB", "+1"]
        {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(
            (bytes_text(512 << 20), bytes_text(1_000), bytes_text(0)),
            ("512MiB".into(), "1000".into(), "0".into())
        );
        assert_eq!(rough_bytes_text((24 << 30) - 1), "23.9 GiB");
        assert_eq!((rough_bytes_text(24 << 30), rough_bytes_text(9)), ("24 GiB".into(), "9 B".into()));
    }

    #[test]
    fn cores_are_read_and_written() {
        for (text, millis) in [("0", 0), ("1", 1_000), ("0.25", 250), ("1.5", 1_500), ("16.001", 16_001)] {
            assert_eq!((parse_cores(text), cores_text(millis)), (Ok(millis), text.to_owned()));
        }
        for bad in ["", "-1", "1.0005", "65537", "one", "1e3", "1,5"] {
            assert!(parse_cores(bad).is_err(), "{bad}");
        }
    }
}
