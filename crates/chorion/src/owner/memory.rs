//! Locked memory for words and seeds: pages that are never swapped, never in a core dump, and empty in a child process.
//!
//! `memfd_secret` (Linux 5.14) is taken where the kernel gives it: its pages leave even the kernel's own map. Else the pages are
//! anonymous and locked. Where neither works there is no identity: a secret that may be written to a disk is worse than an error.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use identity::{NoSecretMemory, Room, SecretMemory};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap};
use zeroize::Zeroize;

/// Memory that the system keeps to itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Locked;

impl SecretMemory for Locked {
    fn room(&self, bytes: usize) -> Result<Box<dyn Room>, NoSecretMemory> {
        let pages = Pages::secret(bytes).or_else(|_no_such_call| Pages::locked(bytes));
        match pages {
            Ok(pages) => Ok(Box::new(pages)),
            Err(error) => Err(NoSecretMemory { why: format!("no page could be locked ({error})") }),
        }
    }
}

/// Whole pages, mapped by us alone.
struct Pages {
    start: NonNull<u8>,
    /// What was asked for; the mapping is as long, rounded up to pages by the kernel.
    bytes: usize,
}

const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

impl Pages {
    fn secret(bytes: usize) -> io::Result<Self> {
        #[expect(
            unsafe_code,
            reason = "no crate here wraps this call; it takes flags and gives a file descriptor"
        )]
        // SAFETY: the call reads no memory of ours, and a descriptor that it gives is ours alone.
        let file = unsafe {
            let number = libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC);
            let number = i32::try_from(number).map_err(io::Error::other)?;
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(number)
        };
        rustix::fs::ftruncate(&file, bytes as u64)?;
        #[expect(unsafe_code, reason = "memory can be mapped in no other way")]
        // SAFETY: a new mapping at an address that the kernel chooses touches nothing that exists.
        let start = unsafe {
            mmap(std::ptr::null_mut(), bytes, READ_WRITE, MapFlags::SHARED, file.as_fd(), 0)
        }?;
        let pages = Self::new(start, bytes)?;
        #[expect(unsafe_code, reason = "advice on memory is given by its address")]
        // SAFETY: the pages are ours, mapped above, and stay mapped.
        let advised = unsafe { madvise(pages.address(), bytes, Advice::LinuxDontFork) };
        advised?;
        Ok(pages)
    }

    fn locked(bytes: usize) -> io::Result<Self> {
        #[expect(unsafe_code, reason = "memory can be mapped in no other way")]
        // SAFETY: a new mapping at an address that the kernel chooses touches nothing that exists.
        let start =
            unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, READ_WRITE, MapFlags::PRIVATE) }?;
        let pages = Self::new(start, bytes)?;
        #[expect(unsafe_code, reason = "memory is locked by its address")]
        // SAFETY: the pages are ours, mapped above, and stay mapped.
        unsafe {
            mlock(pages.address(), bytes)?;
            madvise(pages.address(), bytes, Advice::LinuxDontDump)?;
            madvise(pages.address(), bytes, Advice::LinuxWipeOnFork)?;
        }
        Ok(pages)
    }

    fn new(start: *mut c_void, bytes: usize) -> io::Result<Self> {
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }

    const fn address(&self) -> *mut c_void {
        self.start.as_ptr().cast()
    }
}

#[expect(
    unsafe_code,
    reason = "the mapping is owned like a box, and its owner may go to another thread"
)]
// SAFETY: the pages belong to this value alone, and shared references only read them.
unsafe impl Send for Pages {}
#[expect(unsafe_code, reason = "shared references to the mapping only read it")]
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Room for Pages {
    fn bytes(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "a mapping is a slice by its address and length")]
        // SAFETY: mapped readable and writable for as long as `self` lives, zeroed by the kernel, never aliased mutably while shared.
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr(), self.bytes)
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        #[expect(unsafe_code, reason = "a mapping is a slice by its address and length")]
        // SAFETY: as in `bytes`, and `&mut self` is the only way to it.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes)
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        #[expect(unsafe_code, reason = "a mapping is given back by its address")]
        // SAFETY: it was mapped with this address and length, and nothing refers to it any more.
        let _pages_that_stay_are_empty = unsafe { munmap(self.address(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of /proc/self/smaps for the mapping with this address, and its flags.
    fn flags_of(pages: &Pages) -> (String, String) {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let begin = format!("{:x}-", pages.start.as_ptr() as usize);
        let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&begin));
        let head = lines.next().unwrap().to_owned();
        let flags = lines.find(|line| line.starts_with("VmFlags:")).unwrap();
        (head, flags.to_owned())
    }

    #[test]
    fn locked_pages_are_locked_and_in_no_dump_and_no_child() {
        let mut pages = Pages::locked(64).unwrap();
        pages.bytes_mut().copy_from_slice(&[7; 64]);
        assert_eq!(pages.bytes(), [7; 64]);
        let (_, flags) = flags_of(&pages);
        for flag in [" lo", " dd", " wf"] {
            assert!(flags.contains(flag), "{flag} is not in {flags}");
        }
    }

    #[test]
    fn secret_pages_are_the_kernels_own_kind() {
        match Pages::secret(64) {
            Ok(mut pages) => {
                assert_eq!(pages.bytes(), [0; 64]);
                pages.bytes_mut().fill(9);
                assert_eq!(pages.bytes(), [9; 64]);
                let (head, flags) = flags_of(&pages);
                assert!(head.contains("secretmem"), "{head}");
                assert!(flags.contains(" dc"), "not left out of children: {flags}");
            }
            Err(error) => eprintln!("skipped: this kernel has no memfd_secret ({error})"),
        }
    }

    #[test]
    fn a_room_is_given() {
        assert_eq!(Locked.room(16).unwrap().bytes(), [0; 16]);
    }
}
