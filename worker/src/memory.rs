//! The machine's physical memory.
#![expect(unsafe_code, reason = "nix has neither malloc_trim(3) nor macOS's sysconf(3)")]

use nix::libc;

/// Physical memory in bytes; 8 GiB if the system does not report it.
pub fn physical_bytes() -> u64 {
    let product = pages_times_size(sysconf(libc::_SC_PHYS_PAGES), sysconf(libc::_SC_PAGESIZE));
    product.unwrap_or(8 << 30)
}

/// sysconf(3): -1 if the system does not know the variable.
fn sysconf(variable: libc::c_int) -> libc::c_long {
    // SAFETY: it takes a number and returns one.
    unsafe { libc::sysconf(variable) }
}

/// `None` if the system did not report both.
fn pages_times_size(pages: libc::c_long, size: libc::c_long) -> Option<u64> {
    let (pages, size) = (u64::try_from(pages).ok()?, u64::try_from(size).ok()?);
    pages.checked_mul(size).filter(|bytes| *bytes > 0)
}

/// Returns freed memory to the system: glibc's allocator keeps what a large text needed, others give it back by themselves.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and glibc's allocator may be called from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn physical_memory_is_the_product_of_what_the_system_reports() {
        for (pages, size, bytes) in [
            (4_194_304, 4096, Some(16 << 30)),
            // Apple Silicon has pages of 16 KiB.
            (2_359_296, 16_384, Some(36 << 30)),
            (-1, 16_384, None),
            (2_359_296, -1, None),
            (0, 4096, None),
            (libc::c_long::MAX, 4096, None),
        ] {
            assert_eq!(pages_times_size(pages, size), bytes, "{pages} pages of {size}");
        }
    }

    #[test]
    fn this_machine_reports_its_memory() {
        let known = pages_times_size(sysconf(libc::_SC_PHYS_PAGES), sysconf(libc::_SC_PAGESIZE)).unwrap();
        assert!(known > 256 << 20 && physical_bytes() == known, "{known}");
    }
}
