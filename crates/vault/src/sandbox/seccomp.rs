//! Which system calls a program in the sandbox may make.
//!
//! An allow list: a call that is not on it answers `ENOSYS`, as an older kernel would, so programs take the older way where
//! there is one (glibc falls back from `clone3` to `clone`). A call that some later kernel adds is refused without anybody
//! thinking of it. Namespaces already hide files, network and processes; this list takes away the kernel code that a hostile
//! program would attack to leave them.
//!
//! Left out, and why:
//! - `mount`, `umount2`, `pivot_root`, `chroot`, `open_tree`, `fsopen` and their family: the file tree is fixed;
//! - `unshare`, `setns`, `clone` with any `CLONE_NEW*`, and `clone3` (its flags lie in memory where no filter sees them):
//!   a new user namespace gives back the capabilities that were dropped;
//! - `ptrace`, `process_vm_*`, `kcmp`, `pidfd_getfd`, `process_madvise`: reaching into other processes;
//! - `bpf`, `perf_event_open`, `userfaultfd`, `io_uring_*`: large kernel surfaces with a history, and `io_uring` would do calls
//!   past this filter;
//! - `keyctl`, `add_key`, `request_key`: key rings are not namespaced;
//! - `open_by_handle_at`, `fanotify_*`, `quotactl`, `swapon`, modules, `kexec`, clocks, `syslog`, `iopl`, `modify_ldt`,
//!   `memfd_secret`: administration, or nothing that a genomic program needs;
//! - `socket` and `socketpair` for any family but `AF_UNIX`, and `ioctl` with `TIOCSTI` or `TIOCLINUX` (typing into a terminal).
//!
//! The 32-bit and x32 ways into the kernel are not on the list either: another architecture ends the process, x32 numbers
//! match nothing.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Every `CLONE_NEW*` flag.
const CLONE_NEW: u64 = 0x0000_0080 // CLONE_NEWTIME
    | 0x0002_0000 // CLONE_NEWNS
    | 0x0200_0000 // CLONE_NEWCGROUP
    | 0x0400_0000 // CLONE_NEWUTS
    | 0x0800_0000 // CLONE_NEWIPC
    | 0x1000_0000 // CLONE_NEWUSER
    | 0x2000_0000 // CLONE_NEWPID
    | 0x4000_0000; // CLONE_NEWNET

/// Calls that are allowed whatever their arguments.
const ALLOWED: &[c_long] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_brk,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_chdir,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_connect,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_flock,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getitimer,
    libc::SYS_getpeername,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_getsid,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_getxattr,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_ioprio_get,
    libc::SYS_ioprio_set,
    libc::SYS_kill,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_lgetxattr,
    libc::SYS_linkat,
    libc::SYS_listen,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_lremovexattr,
    libc::SYS_lseek,
    libc::SYS_lsetxattr,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_mincore,
    libc::SYS_mkdirat,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_mlockall,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msgctl,
    libc::SYS_msgget,
    libc::SYS_msgrcv,
    libc::SYS_msgsnd,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munlockall,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_prctl,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_prlimit64,
    libc::SYS_pselect6,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_removexattr,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getattr,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_rr_get_interval,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_yield,
    libc::SYS_seccomp,
    libc::SYS_semctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_sendfile,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_setitimer,
    libc::SYS_setpgid,
    libc::SYS_setpriority,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_setrlimit,
    libc::SYS_setsid,
    libc::SYS_setsockopt,
    libc::SYS_setuid,
    libc::SYS_setxattr,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_shmdt,
    libc::SYS_shmget,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_sync,
    libc::SYS_sync_file_range,
    libc::SYS_syncfs,
    libc::SYS_sysinfo,
    libc::SYS_tee,
    libc::SYS_tgkill,
    libc::SYS_timer_create,
    libc::SYS_timer_delete,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_gettime,
    libc::SYS_timer_settime,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    libc::SYS_times,
    libc::SYS_tkill,
    libc::SYS_truncate,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_vmsplice,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Older calls that only x86-64 still has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_alarm,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_creat,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_fork,
    libc::SYS_futimesat,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_inotify_init,
    libc::SYS_lchown,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pause,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_signalfd,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[c_long] = &[];

/// `TIOCSTI` and `TIOCLINUX` of `ioctl`.
const TERMINAL_INPUT: [u64; 2] = [0x5412, 0x541c];
/// `S_IFMT`, and the file types `mknod` may make: pipes, and plain files in both spellings.
const FILE_TYPE: u64 = 0o170_000;
const MADE_TYPES: [u64; 3] = [0o010_000, 0o100_000, 0];

type Conditions = Vec<Vec<(u8, SeccompCmpOp, u64)>>;

/// Calls that are allowed when one of the listed groups of conditions on their arguments holds.
fn conditional() -> Vec<(c_long, Conditions)> {
    let made = |argument: u8| {
        MADE_TYPES.map(|kind| vec![(argument, SeccompCmpOp::MaskedEq(FILE_TYPE), kind)]).to_vec()
    };
    let unix_only = vec![vec![(0, SeccompCmpOp::Eq, 1)]];
    let list = vec![
        (libc::SYS_clone, vec![vec![(0, SeccompCmpOp::MaskedEq(CLONE_NEW), 0)]]),
        (libc::SYS_socket, unix_only.clone()),
        (libc::SYS_socketpair, unix_only),
        (
            libc::SYS_ioctl,
            vec![TERMINAL_INPUT.map(|request| (1, SeccompCmpOp::Ne, request)).to_vec()],
        ),
        // Asking for the present personality, and the plain one.
        (
            libc::SYS_personality,
            vec![vec![(0, SeccompCmpOp::Eq, 0)], vec![(0, SeccompCmpOp::Eq, 0xffff_ffff)]],
        ),
        (libc::SYS_mknodat, made(2)),
    ];
    #[cfg(target_arch = "x86_64")]
    let list = {
        let mut list = list;
        list.push((libc::SYS_mknod, made(1)));
        list
    };
    list
}

/// A filter that this machine's architecture cannot have.
#[derive(Debug, thiserror::Error)]
#[error("no system call filter can be made for this machine")]
pub struct FilterError(#[source] seccompiler::BackendError);

/// The filter as the kernel takes it: an array of `struct sock_filter`.
///
/// # Errors
/// On an architecture that the filter compiler does not know.
pub fn filter() -> Result<Vec<u8>, FilterError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in ALLOWED.iter().chain(ALLOWED_HERE) {
        rules.insert(*call, Vec::new());
    }
    for (call, groups) in conditional() {
        let groups = groups.into_iter().map(|group| {
            let group = group.into_iter().map(|(argument, operator, value)| {
                // Every argument looked at here is 32 bits wide; the kernel ignores what is above.
                SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
            });
            SeccompRule::new(group.collect::<Result<_, _>>()?)
        });
        rules.insert(call, groups.collect::<Result<_, _>>().map_err(FilterError)?);
    }
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(FilterError)?;
    let no_such_call = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(rules, no_such_call, SeccompAction::Allow, architecture)
        .map_err(FilterError)?;
    let program = BpfProgram::try_from(filter).map_err(FilterError)?;
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        bytes.extend_from_slice(&instruction.code.to_ne_bytes());
        bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
        bytes.extend_from_slice(&instruction.k.to_ne_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_filter_compiles_within_the_kernels_bound() {
        let bytes = filter().unwrap();
        assert_eq!(bytes.len() % 8, 0);
        assert!(bytes.len() / 8 <= 4096, "{} instructions", bytes.len() / 8);
    }

    #[test]
    fn no_call_is_listed_twice() {
        let mut seen = BTreeSet::new();
        let conditional = conditional();
        let all =
            ALLOWED.iter().chain(ALLOWED_HERE).chain(conditional.iter().map(|(call, _)| call));
        for call in all {
            assert!(seen.insert(*call), "system call {call}");
        }
    }

    #[test]
    fn what_must_be_refused_is_on_no_list() {
        let conditional = conditional();
        for call in [
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_clone3,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_open_by_handle_at,
            libc::SYS_init_module,
            libc::SYS_kexec_load,
            libc::SYS_reboot,
        ] {
            assert!(!ALLOWED.contains(&call) && !ALLOWED_HERE.contains(&call), "{call}");
            assert!(!conditional.iter().any(|(listed, _)| *listed == call), "{call}");
        }
    }
}
