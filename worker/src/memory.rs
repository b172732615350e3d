//! The machine's physical memory.

/// Physical memory in bytes; 8 GiB if the system does not report it.
pub fn physical_bytes() -> u64 {
    platform::physical_bytes().unwrap_or(8 << 30)
}

/// Returns freed memory to the system. Otherwise the allocator keeps what a large text needed.
pub fn give_back() {
    platform::give_back();
}

#[cfg(target_os = "linux")]
mod platform {
    #![expect(unsafe_code, reason = "malloc_trim(3) has no safe wrapper")]

    use nix::unistd::{SysconfVar, sysconf};

    /// sysconf(3).
    pub(super) fn physical_bytes() -> Option<u64> {
        let read = |variable| u64::try_from(sysconf(variable).ok()??).ok();
        Some(read(SysconfVar::_PHYS_PAGES)? * read(SysconfVar::PAGE_SIZE)?)
    }

    /// malloc_trim(3), which only glibc has.
    pub(super) fn give_back() {
        #[cfg(target_env = "gnu")]
        // SAFETY: it takes no pointer, and glibc's allocator may be called from any thread.
        unsafe {
            nix::libc::malloc_trim(0);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    /// `hw.memsize` from sysctl(8), because nix has no safe wrapper for sysctl(3).
    pub(super) fn physical_bytes() -> Option<u64> {
        let output =
            std::process::Command::new("/usr/sbin/sysctl").args(["-n", "hw.memsize"]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    }

    /// The system's allocator gives large blocks back by itself.
    pub(super) fn give_back() {}
}
