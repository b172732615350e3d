//! Three calls of macOS's libSystem that no safe crate of this workspace has.
#![expect(unsafe_code, reason = "the C functions write to buffers whose sizes the caller vouches for")]

use std::ffi::CStr;
use std::mem::{MaybeUninit, size_of};

use nix::libc;

use crate::machine::macos_rules::integer;

/// An integer of sysctl(3), of 4 or 8 bytes. `None` if the name is unknown.
pub(super) fn sysctl(name: &CStr) -> Option<u64> {
    let mut bytes = [0u8; size_of::<u64>()];
    let mut length = bytes.len();
    // SAFETY: `name` ends with a zero, and the call writes at most `length` bytes to `bytes`, then the number of bytes to `length`.
    let status = unsafe {
        libc::sysctlbyname(name.as_ptr(), bytes.as_mut_ptr().cast(), &raw mut length, std::ptr::null_mut(), 0)
    };
    (status == 0).then(|| integer(bytes, length)).flatten()
}

/// `ri_phys_footprint` of a process of this user, in bytes. `None` if it has ended.
pub(super) fn physical_footprint(pid: u32) -> Option<u64> {
    let pid = i32::try_from(pid).ok()?;
    let mut usage = MaybeUninit::<libc::rusage_info_v4>::zeroed();
    // SAFETY: for this flavour the call writes one `rusage_info_v4`; all zeros are a valid one.
    let usage = unsafe {
        match libc::proc_pid_rusage(pid, libc::RUSAGE_INFO_V4, usage.as_mut_ptr().cast()) {
            0 => usage.assume_init(),
            _ => return None,
        }
    };
    Some(usage.ri_phys_footprint)
}

/// The ids of all processes. Those that begin meanwhile may be missing.
pub(super) fn processes() -> Vec<i32> {
    // SAFETY: without a buffer the call returns the number of processes.
    let count = unsafe { libc::proc_listallpids(std::ptr::null_mut(), 0) };
    let mut ids = vec![0i32; usize::try_from(count).unwrap_or(0) + 64];
    let bytes = i32::try_from(ids.len() * size_of::<i32>()).unwrap_or(i32::MAX);
    // SAFETY: the call writes at most `bytes` bytes to `ids`, which has as many, and returns the number of ids.
    let count = unsafe { libc::proc_listallpids(ids.as_mut_ptr().cast(), bytes) };
    ids.truncate(usize::try_from(count).unwrap_or(0));
    ids
}
