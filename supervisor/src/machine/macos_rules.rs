//! How macOS's figures are understood. Pure, so that tests on every system judge it.

use ipc_proto::supervisor::Pressure;

/// With less free memory than this percentage, the system's warning counts.
const LITTLE_FREE: u64 = 15;

/// The pressure from `kern.memorystatus_vm_pressure_level` (1 normal, 2 warning, 4 critical) and the free memory in percent.
///
/// XNU's warning begins when less than half of the pages outside wired memory are uncompressed (`VM_PRESSURE_NORMAL_TO_WARNING`).
/// That is ordinary on a machine with 16 GiB, and can last for hours. It counts only while little memory is free.
pub(super) fn classify(level: u64, free_percent: u64) -> Pressure {
    match level {
        4 => Pressure::Critical,
        2 if free_percent < LITTLE_FREE => Pressure::Warn,
        _ => Pressure::Normal,
    }
}

/// An integer of sysctl(3) from the beginning of eight zeroed bytes. `None` if it has another size than 4 or 8 bytes.
pub(super) fn integer(bytes: [u8; 8], length: usize) -> Option<u64> {
    // Macs are little-endian: four bytes before four zeros are the number, too.
    matches!(length, 4 | 8).then(|| u64::from_le_bytes(bytes))
}

/// Free bytes of `total` from the free percentage.
pub(super) fn available(total: u64, free_percent: u64) -> u64 {
    total / 100 * free_percent.min(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_counts_only_with_little_free_memory() {
        for (level, free, pressure) in [
            (1, 3, Pressure::Normal),
            (2, 46, Pressure::Normal),
            (2, 15, Pressure::Normal),
            (2, 14, Pressure::Warn),
            (4, 46, Pressure::Critical),
            (4, 2, Pressure::Critical),
            // A level that no release of macOS reports.
            (0, 50, Pressure::Normal),
        ] {
            assert_eq!(classify(level, free), pressure, "level {level}, {free} % free");
        }
    }

    #[test]
    fn integers_have_four_or_eight_bytes() {
        let memory = (36u64 << 30).to_le_bytes();
        for (bytes, length, expected) in [
            ([4, 0, 0, 0, 0, 0, 0, 0], 4, Some(4)),
            (memory, 8, Some(36 << 30)),
            ([1, 0, 0, 0, 0, 0, 0, 0], 1, None),
            ([0; 8], 0, None),
        ] {
            assert_eq!(integer(bytes, length), expected, "{length} bytes");
        }
    }

    #[test]
    fn free_percentage_is_a_part_of_the_memory() {
        for (total, percent, expected) in
            [(1000, 46, 460), (1000, 0, 0), (1000, 100, 1000), (1000, 250, 1000), (0, 50, 0)]
        {
            assert_eq!(available(total, percent), expected, "{percent} % of {total}");
        }
    }
}
