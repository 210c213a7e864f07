//! Memory that the system keeps to itself: pages that are never swapped, never in a core dump, and empty in a child process; and a whole
//! process that nobody dumps or traces.
//!
//! `memfd_secret` (Linux 5.14) is taken where the kernel gives it: its pages leave even the kernel's own map. Else the pages are
//! anonymous and locked. Where neither works there is no key: a secret that may be written to a disk is worse than an error.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mm::{
    Advice, MapFlags, MlockAllFlags, ProtFlags, madvise, mlock, mlockall, mmap, mmap_anonymous,
    munmap,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use zeroize::Zeroize;

/// Memory could not be kept from the rest of the machine.
#[derive(Debug, thiserror::Error)]
#[error("the vault's memory cannot be kept to itself: {what}")]
pub struct Unprotected {
    /// Which part.
    what: &'static str,
    /// What the system said.
    source: io::Error,
}

/// From here on this process leaves no core dump, and nobody but root traces it or reads its memory.
///
/// # Errors
/// The system does not let it.
pub fn protect() -> Result<(), Unprotected> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .and_then(|()| setrlimit(Resource::Core, none))
        .map_err(|error| Unprotected {
            what: "core dumps are not to be forbidden",
            source: error.into(),
        })
}

/// The same, and nothing of this process ever reaches swap: all of it is locked, and on a machine that swaps although it cannot be, it ends.
///
/// # Errors
/// The system does not let it, or swaps.
pub fn protect_all() -> Result<(), Unprotected> {
    protect()?;
    // Stacks and pages to come as well. A guest's vault is root, whose limit can be lifted.
    let lifted = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    let locked = lifted.and_then(|()| mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE));
    match locked {
        Ok(()) => Ok(()),
        Err(_not_root) if !swaps() => Ok(()),
        Err(error) => Err(Unprotected {
            what: "this machine swaps, and memory is not to be locked",
            source: error.into(),
        }),
    }
}

/// Gives what was freed back to the system, which hands a page out again as zeros alone.
///
/// A vault that stays does it between tasks: what
/// it read for one is not to lie about in its memory during the next. What a page keeps because something of it is still in use
/// stays; keys do not depend on this, they are wiped where they lie.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "the allocator is asked by a call of its library")]
    // SAFETY: the call takes a number, and touches memory alone that nobody uses.
    let _whether_some_was = unsafe { libc::malloc_trim(0) };
}

/// The system's allocator, which overwrites whatever is freed from the moment that [`wipe_what_is_freed`] says so.
///
/// Keys are wiped where
/// they lie in any case, and this is for what was read with them. A program that may become a vault which stays names it as its own.
#[derive(Debug)]
pub struct Wiping;

static WIPES: AtomicBool = AtomicBool::new(false);

/// From here on nothing that this process frees keeps what stood in it.
pub fn wipe_what_is_freed() {
    WIPES.store(true, Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "an allocator deals in addresses")]
// SAFETY: every call goes to the system's allocator with what the caller promised; in between bytes are written that are the
// caller's to give up, and no more of them than its layout says.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if WIPES.load(Ordering::Relaxed) {
            // SAFETY: the whole block is the caller's, who gives it up.
            unsafe { at.write_bytes(0, layout.size()) };
            // Who frees a block next does not read it, so the zeros would be left out if nobody seemed to look.
            let _seems_read = std::hint::black_box(at);
        }
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if !WIPES.load(Ordering::Relaxed) {
            // SAFETY: as the caller promised.
            return unsafe { System.realloc(at, layout, bytes) };
        }
        // SAFETY: the caller promised that `bytes` with this alignment is a layout, and that the old block is as `layout` says; the two
        // blocks do not overlap.
        unsafe {
            let to = self.alloc(Layout::from_size_align_unchecked(bytes, layout.align()));
            if !to.is_null() {
                to.copy_from_nonoverlapping(at, layout.size().min(bytes));
                self.dealloc(at, layout);
            }
            to
        }
    }
}

/// Whether this machine has swap. Where that cannot be known, it has.
fn swaps() -> bool {
    std::fs::read_to_string("/proc/swaps").map_or(true, |text| text.lines().count() > 1)
}

/// A value in such pages, wiped when it is dropped. What it was made from is wiped too.
#[derive(Debug)]
pub struct Guarded<T> {
    pages: Pages,
    of: PhantomData<T>,
}

impl<T> Guarded<T> {
    /// Moves `value` there.
    ///
    /// # Errors
    /// No page is to be had.
    pub fn new(value: T) -> Result<Self, Unprotected> {
        let pages = Pages::new(size_of::<T>().max(1))
            .map_err(|source| Unprotected { what: "no page is to be locked", source })?;
        let mut value = ManuallyDrop::new(value);
        let from = (&raw mut *value).cast::<u8>();
        #[expect(
            unsafe_code,
            reason = "a value is moved by its bytes, and nothing of it stays behind"
        )]
        // SAFETY: both sides have the bytes of one `T`, do not overlap, and pages are aligned for any type of less than a page. The
        // source is never used or dropped again, so that its bytes may become zero.
        unsafe {
            std::ptr::copy_nonoverlapping(from, pages.start.as_ptr(), size_of::<T>());
            std::slice::from_raw_parts_mut(
                from.cast::<std::mem::MaybeUninit<u8>>(),
                size_of::<T>(),
            )
            .zeroize();
        }
        Ok(Self { pages, of: PhantomData })
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        #[expect(unsafe_code, reason = "a value lies at its address")]
        // SAFETY: `new` put a `T` there, it is dropped with `self` alone, and nobody writes to it.
        unsafe {
            &*self.pages.start.as_ptr().cast::<T>()
        }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "a value at an address is dropped there")]
        // SAFETY: `new` put a `T` there, and this is the one place where it is dropped; the pages go after it.
        unsafe {
            std::ptr::drop_in_place(self.pages.start.as_ptr().cast::<T>());
        }
    }
}

/// Whole pages, mapped by us alone.
#[derive(Debug)]
pub struct Pages {
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
        let pages = Self::mapped(start, bytes)?;
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
        let pages = Self::mapped(start, bytes)?;
        #[expect(unsafe_code, reason = "memory is locked by its address")]
        // SAFETY: the pages are ours, mapped above, and stay mapped.
        unsafe {
            mlock(pages.address(), bytes)?;
            madvise(pages.address(), bytes, Advice::LinuxDontDump)?;
            madvise(pages.address(), bytes, Advice::LinuxWipeOnFork)?;
        }
        Ok(pages)
    }

    fn mapped(start: *mut c_void, bytes: usize) -> io::Result<Self> {
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

impl Pages {
    /// Zeroed pages for so many bytes: the kernel's own kind where it has one, else locked ones.
    ///
    /// # Errors
    /// Neither is to be had.
    pub fn new(bytes: usize) -> io::Result<Self> {
        Self::secret(bytes).or_else(|_no_such_call| Self::locked(bytes))
    }

    /// What stands in them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "a mapping is a slice by its address and length")]
        // SAFETY: mapped readable and writable for as long as `self` lives, zeroed by the kernel, never aliased mutably while shared.
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr(), self.bytes)
        }
    }

    /// The same, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
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
    fn a_value_lies_in_them_and_is_dropped_once() {
        let shared = std::sync::Arc::new(7_u8);
        let guarded = Guarded::new((std::sync::Arc::clone(&shared), [9_u8; 32])).unwrap();
        assert_eq!((*guarded.0, guarded.1), (7, [9; 32]));
        assert_eq!(std::sync::Arc::strong_count(&shared), 2);
        drop(guarded);
        assert_eq!(std::sync::Arc::strong_count(&shared), 1);
    }

    #[test]
    fn a_protected_process_is_no_others_to_trace_and_leaves_no_core() {
        // In a process of its own: it cannot be taken back.
        let child = std::env::var_os("CHORION_PROTECTED_CHILD");
        if child.is_none() {
            let status = std::process::Command::new(std::env::current_exe().unwrap())
                .args([
                    "memory::tests::a_protected_process_is_no_others_to_trace_and_leaves_no_core",
                    "--exact",
                ])
                .env("CHORION_PROTECTED_CHILD", "1")
                .status()
                .unwrap();
            assert!(status.success());
            return;
        }
        protect().unwrap();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
    }

    /// The tests of this crate run under it too.
    #[global_allocator]
    static MEMORY: Wiping = Wiping;

    #[test]
    fn what_is_freed_is_overwritten_also_when_it_moves() {
        let child = std::env::var_os("CHORION_WIPING_CHILD");
        if child.is_none() {
            // In a process of its own, where nothing else is freed meanwhile.
            let name = "memory::tests::what_is_freed_is_overwritten_also_when_it_moves";
            let status = std::process::Command::new(std::env::current_exe().unwrap())
                .args([name, "--exact"])
                .env("CHORION_WIPING_CHILD", "1")
                .status()
                .unwrap();
            assert!(status.success());
            return;
        }
        wipe_what_is_freed();
        // Made here, so that it stands nowhere else.
        let canary: Vec<u8> = (0..64_u8).map(|at| at.wrapping_mul(37) ^ 0xa5).collect();
        let mut text = canary.repeat(40);
        text.reserve_exact(1 << 20);
        let held = text.clone();
        drop((text, held));
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut memory = std::fs::File::open("/proc/self/mem").unwrap();
        let heaps = maps.lines().filter(|line| line.contains("[heap]") || line.ends_with(" 0 "));
        let mut found = 0;
        for line in heaps {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            let read = io::Seek::seek(&mut memory, io::SeekFrom::Start(from))
                .and_then(|_| io::Read::read_exact(&mut memory, &mut bytes));
            if read.is_ok() {
                found += bytes.windows(canary.len()).filter(|part| *part == canary).count();
            }
        }
        assert!(found <= 1, "only the canary itself is there, not {found} times");
    }

    #[test]
    fn pages_are_given() {
        assert_eq!(Pages::new(16).unwrap().bytes(), [0; 16]);
    }
}
