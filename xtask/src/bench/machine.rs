//! The machine of a measurement.

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use memmap2::MmapMut;

/// One line about processor, memory and system.
pub(super) fn description() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{}, {cores} cores, {}, {}", processor(), memory(), said("uname", &["-srm"]))
}

fn processor() -> String {
    let listed = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = listed.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| said("sysctl", &["-n", "machdep.cpu.brand_string"]), |(_, name)| name.to_owned())
}

fn memory() -> String {
    let listed = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = listed.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let bytes = match kib.and_then(|kib| kib.parse::<u64>().ok()) {
        Some(kib) => kib << 10,
        None => said("sysctl", &["-n", "hw.memsize"]).parse().unwrap_or(0),
    };
    format!("{} GiB", bytes >> 30)
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// Today, as YYYY-MM-DD.
pub(super) fn today() -> String {
    said("date", &["-u", "+%F"])
}

/// Bytes a second that all cores together read from memory, in huge pages where there are any. It is the median of a few passes
/// over more memory than any cache holds. A virtual machine's share varies, so measure it beside the figures that it is compared
/// with.
///
/// # Errors
/// Without the memory for it.
pub(super) fn read_bandwidth() -> anyhow::Result<f64> {
    const BYTES: usize = 512 << 20;
    let mut memory = MmapMut::map_anon(BYTES)?;
    #[cfg(target_os = "linux")]
    let _ = memory.advise(memmap2::Advice::HugePage);
    memory.fill(1);
    let (words, _) = memory.as_chunks::<8>();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let sum =
        |part: &[[u8; 8]]| part.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)));
    let pass = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for part in words.chunks(words.len().div_ceil(threads)) {
                scope.spawn(move || black_box(sum(part)));
            }
        });
        BYTES as f64 / start.elapsed().as_secs_f64()
    };
    Ok(super::client::median((0..9).map(|_| pass()).collect()))
}
