//! How much memory the machine has.

/// Bytes of physical memory; 8 GiB where the system does not say.
pub fn physical_bytes() -> u64 {
    platform::physical_bytes().unwrap_or(8 << 30)
}

#[cfg(target_os = "linux")]
mod platform {
    use nix::unistd::{SysconfVar, sysconf};

    /// sysconf(3).
    pub(super) fn physical_bytes() -> Option<u64> {
        let read = |variable| u64::try_from(sysconf(variable).ok()??).ok();
        Some(read(SysconfVar::_PHYS_PAGES)? * read(SysconfVar::PAGE_SIZE)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    /// sysctl(8), `hw.memsize` of sysctl(3): nix has no wrapper for it that needs no unsafe code.
    pub(super) fn physical_bytes() -> Option<u64> {
        let output =
            std::process::Command::new("/usr/sbin/sysctl").args(["-n", "hw.memsize"]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    }
}
