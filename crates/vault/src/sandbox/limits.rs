//! Who holds the limits: cgroup v2, cgroup v1, or the process limits that every Linux has; and which it was is said.
//!
//! A cgroup holds a whole tree of processes and counts what it used. Without one, each process is held by itself
//! (`RLIMIT_DATA`), the number of processes by `RLIMIT_NPROC` (which the kernel does not apply to root), the cores by affinity,
//! and the tree's memory is watched and the tree ended when it goes over. File systems in memory are part of what a cgroup
//! counts; without one they are held by their own size.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde::Serialize;

/// Most that one run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Processor cores.
    pub cpus: u32,
    /// Bytes for the processes.
    pub memory_bytes: u64,
    /// Bytes for `/tmp`.
    pub scratch_bytes: u64,
    /// Bytes for the outputs together with what is printed.
    pub output_bytes: u64,
    /// Processes and threads at one time.
    pub processes: u32,
    /// After which everything is killed.
    pub wall: Duration,
}

impl Limits {
    /// What a cgroup counts: processes, and the file systems in memory; never more than this machine has to give now, so that
    /// an app that takes all it may is what ends, and not its neighbours.
    fn all_memory_bytes(&self) -> u64 {
        let all = [self.scratch_bytes, self.output_bytes, SHARED_MEMORY_BYTES]
            .iter()
            .fold(self.memory_bytes, |sum, bytes| sum.saturating_add(*bytes));
        all.min(available_memory_bytes().map_or(all, |available| available / 16 * 15))
    }
}

/// Size of `/dev/shm` inside.
pub(super) const SHARED_MEMORY_BYTES: u64 = 64 << 20;

/// What holds one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// A group of the unified hierarchy.
    CgroupV2,
    /// A group of a controller's own hierarchy.
    CgroupV1,
    /// A limit of each process.
    Rlimit,
    /// Looked at twenty times a second.
    Watch,
    /// The cores the processes may use.
    Affinity,
    /// Nothing: the kernel does not apply this limit to root.
    Nobody,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CgroupV2 => "cgroup v2",
            Self::CgroupV1 => "cgroup v1",
            Self::Rlimit => "process limits",
            Self::Watch => "process limits and a watch",
            Self::Affinity => "core affinity",
            Self::Nobody => "nothing",
        })
    }
}

/// Which holder each limit has on this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Memory of the whole tree.
    pub memory: Holder,
    /// Number of processes.
    pub processes: Holder,
    /// Share of the cores.
    pub cpus: Holder,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, processes, cpus } = self;
        write!(f, "memory by {memory}, processes by {processes}, cores by {cpus}")
    }
}

/// What a run used, as far as it could be counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Used {
    /// Most memory at one time, with file systems in memory where a cgroup counted.
    pub peak_memory_bytes: Option<u64>,
    /// Processor time.
    pub cpu_ms: Option<u64>,
}

/// The limits of one running sandbox.
#[derive(Debug)]
pub(super) struct Applied {
    groups: Vec<Group>,
    held: Held,
    limits: Limits,
    sampled: Used,
}

#[derive(Debug)]
struct Group {
    folder: PathBuf,
    controllers: Controllers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controllers {
    Unified,
    Memory,
    Pids,
    Cpu,
    CpuAccounting,
}

impl Applied {
    /// Puts `first` (the sandbox's first process, which has not started the program yet) under `limits`, with the cgroup file
    /// systems below `mount`.
    pub(super) fn below(mount: &Path, first: Pid, limits: Limits) -> io::Result<Self> {
        let own = &own_groups()?;
        let name = format!("chorion-{}", uuid::Uuid::new_v4().simple());
        let mut groups = Vec::new();
        let mut held = Held {
            memory: Holder::Watch,
            processes: if rustix::process::geteuid().is_root() {
                Holder::Nobody
            } else {
                Holder::Rlimit
            },
            cpus: Holder::Affinity,
        };
        if let Some(group) = unified(mount, own, &name, first, &limits) {
            held.memory = Holder::CgroupV2;
            held.processes = Holder::CgroupV2;
            if group.folder.join("cpu.max").exists() {
                held.cpus = Holder::CgroupV2;
            }
            groups.push(group);
        } else {
            for controllers in [
                Controllers::Memory,
                Controllers::Pids,
                Controllers::Cpu,
                Controllers::CpuAccounting,
            ] {
                let Some(group) = separate(mount, own, &name, controllers, first, &limits) else {
                    continue;
                };
                match controllers {
                    Controllers::Memory => held.memory = Holder::CgroupV1,
                    Controllers::Pids => held.processes = Holder::CgroupV1,
                    Controllers::Cpu => held.cpus = Holder::CgroupV1,
                    Controllers::CpuAccounting | Controllers::Unified => {}
                }
                groups.push(group);
            }
        }
        let applied = Self { groups, held, limits, sampled: Used::default() };
        applied.process_limits(first)?;
        Ok(applied)
    }

    /// Limits of each process; the first one's are inherited by all.
    fn process_limits(&self, first: Pid) -> io::Result<()> {
        let set = |resource, value: u64| -> io::Result<()> {
            let limit = Rlimit { current: Some(value), maximum: Some(value) };
            let _before = prlimit(Some(first), resource, limit)?;
            Ok(())
        };
        set(Resource::Core, 0)?;
        set(Resource::Nofile, 4096)?;
        set(Resource::Memlock, 1 << 20)?;
        // Two more: the sandbox's own first process, and one to spare while it starts.
        set(Resource::Nproc, u64::from(self.limits.processes) + 2)?;
        if self.held.memory == Holder::Watch {
            set(Resource::Data, self.limits.memory_bytes)?;
        }
        if self.held.cpus == Holder::Affinity {
            let mut cores = rustix::thread::CpuSet::new();
            let allowed = rustix::thread::sched_getaffinity(Some(first))?;
            let mut left = self.limits.cpus;
            for core in 0..rustix::thread::CpuSet::MAX_CPU {
                if left > 0 && allowed.is_set(core) {
                    cores.set(core);
                    left -= 1;
                }
            }
            rustix::thread::sched_setaffinity(Some(first), &cores)?;
        }
        Ok(())
    }

    /// Who holds what.
    pub(super) const fn held(&self) -> Held {
        self.held
    }

    /// Looks at the tree below `first`, where no cgroup counts; says whether it is over its memory.
    pub(super) fn watch(&mut self, first: Pid) -> bool {
        if self.held.memory != Holder::Watch {
            return false;
        }
        let (mut memory, mut ticks) = (0, 0);
        let mut todo = vec![first.as_raw_nonzero().get()];
        while let Some(pid) = todo.pop() {
            let folder = PathBuf::from(format!("/proc/{pid}"));
            let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
            let status = read("status");
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let resident = resident.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
            memory += resident.unwrap_or(0_u64) * 1024;
            // Fields 14 to 17 of proc(5), counted behind the name, which may hold anything but ends at the last parenthesis.
            let stat = read("stat");
            let numbers = stat.rsplit_once(')').map_or("", |(_, numbers)| numbers);
            let times = numbers.split_whitespace().skip(11).take(4);
            ticks += times.filter_map(|n| n.parse::<u64>().ok()).sum::<u64>();
            let Ok(tasks) = fs::read_dir(folder.join("task")) else { continue };
            for task in tasks.flatten() {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                todo.extend(children.split_whitespace().filter_map(|n| n.parse::<i32>().ok()));
            }
        }
        let peak = self.sampled.peak_memory_bytes.unwrap_or(0).max(memory);
        self.sampled.peak_memory_bytes = Some(peak);
        self.sampled.cpu_ms = Some(self.sampled.cpu_ms.unwrap_or(0).max(ticks * 10));
        memory > self.limits.memory_bytes
    }

    /// What was used, once all processes have ended.
    pub(super) fn used(&self) -> Used {
        let number = |folder: &Path, file: &str| -> Option<u64> {
            fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
        };
        let mut used = self.sampled;
        for Group { folder, controllers } in &self.groups {
            match controllers {
                Controllers::Unified => {
                    used.peak_memory_bytes = number(folder, "memory.peak");
                    used.cpu_ms = field(&folder.join("cpu.stat"), "usage_usec").map(|us| us / 1000);
                }
                Controllers::Memory => {
                    used.peak_memory_bytes = number(folder, "memory.max_usage_in_bytes");
                }
                Controllers::CpuAccounting => {
                    used.cpu_ms = number(folder, "cpuacct.usage").map(|ns| ns / 1_000_000);
                }
                Controllers::Pids | Controllers::Cpu => {}
            }
        }
        used
    }

    /// Whether the kernel ended a process for want of memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        self.groups.iter().any(|group| {
            let file = match group.controllers {
                Controllers::Unified => "memory.events",
                Controllers::Memory => "memory.oom_control",
                _ => return false,
            };
            field(&group.folder.join(file), "oom_kill").is_some_and(|kills| kills > 0)
        })
    }
}

impl Drop for Applied {
    fn drop(&mut self) {
        for Group { folder, controllers } in &self.groups {
            if *controllers == Controllers::Unified {
                // Everything in it was killed before; this catches what a failed start left.
                let _not_there_before_5_14 = fs::write(folder.join("cgroup.kill"), "1");
            }
            // The last process may still be leaving.
            let mut result = fs::remove_dir(folder);
            for _attempt in 0..100 {
                if result.is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
                result = fs::remove_dir(folder);
            }
            if let Err(error) = result {
                tracing::warn!(group = %folder.display(), %error, "a cgroup could not be removed");
            }
        }
    }
}

/// What programs could still get without swapping, as the kernel estimates it.
fn available_memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

fn own_groups() -> io::Result<String> {
    fs::read_to_string("/proc/self/cgroup")
}

/// A value of a file of `key value` lines.
fn field(file: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The path after the second colon of the line whose second field is (or lists) `controller`.
fn own_path<'a>(own: &'a str, controller: &str) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_id, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        names.split(',').any(|name| name == controller).then_some(path)
    })
}

/// Makes a group, fills it in and moves `first` into it; nothing is left when any of that fails.
fn make_group(
    folder: PathBuf,
    controllers: Controllers,
    values: &[(&str, String, bool)],
    first: Pid,
) -> Option<Group> {
    fs::create_dir(&folder).ok()?;
    let fill = || -> io::Result<()> {
        for (file, value, needed) in values {
            match fs::write(folder.join(file), value) {
                Err(error) if *needed => return Err(error),
                _ => {}
            }
        }
        fs::write(folder.join("cgroup.procs"), first.as_raw_nonzero().to_string())
    };
    if let Err(error) = fill() {
        tracing::debug!(group = %folder.display(), %error, "a cgroup cannot be used");
        let _left_as_found = fs::remove_dir(&folder);
        return None;
    }
    Some(Group { folder, controllers })
}

/// A cgroup v2: below this process' own group, or beside it, wherever memory and pids are handed down.
fn unified(mount: &Path, own: &str, name: &str, first: Pid, limits: &Limits) -> Option<Group> {
    if !mount.join("cgroup.controllers").exists() {
        return None;
    }
    let own = own_path(own, "")?.trim_matches('/');
    let here = mount.join(own);
    let beside = here.parent().filter(|parent| parent.starts_with(mount)).map(Path::to_owned);
    [Some(here), beside].into_iter().flatten().find_map(|parent| {
        let control = parent.join("cgroup.subtree_control");
        for controller in ["+memory", "+pids", "+cpu"] {
            // Refused where the group itself holds processes, or where it is on already: the next look decides.
            let _may_be_refused = fs::write(&control, controller);
        }
        let on = fs::read_to_string(&control).ok()?;
        let has = |controller| on.split_whitespace().any(|name| name == controller);
        if !(has("memory") && has("pids")) {
            return None;
        }
        let values = [
            ("memory.max", limits.all_memory_bytes().to_string(), true),
            ("memory.swap.max", "0".to_owned(), false),
            ("memory.oom.group", "1".to_owned(), false),
            ("pids.max", (limits.processes + 2).to_string(), true),
            ("cpu.max", format!("{} 100000", u64::from(limits.cpus) * 100_000), false),
        ];
        make_group(parent.join(name), Controllers::Unified, &values, first)
    })
}

/// A cgroup v1 of one controller, below this process' own.
fn separate(
    mount: &Path,
    own: &str,
    name: &str,
    controllers: Controllers,
    first: Pid,
    limits: &Limits,
) -> Option<Group> {
    let memory = limits.all_memory_bytes().to_string();
    let (controller, values) = match controllers {
        Controllers::Memory => (
            "memory",
            vec![
                ("memory.limit_in_bytes", memory.clone(), true),
                // There only where swap is counted: then no byte may go to swap.
                ("memory.memsw.limit_in_bytes", memory, false),
            ],
        ),
        Controllers::Pids => ("pids", vec![("pids.max", (limits.processes + 2).to_string(), true)]),
        Controllers::Cpu => (
            "cpu",
            vec![
                ("cpu.cfs_period_us", "100000".to_owned(), true),
                ("cpu.cfs_quota_us", (u64::from(limits.cpus) * 100_000).to_string(), true),
            ],
        ),
        Controllers::CpuAccounting => ("cpuacct", Vec::new()),
        Controllers::Unified => return None,
    };
    let own = own_path(own, controller)?.trim_matches('/');
    let parent = mount.join(controller).join(own);
    // A controller that is not mounted has no such file.
    parent.join("cgroup.procs").exists().then_some(())?;
    make_group(parent.join(name), controllers, &values, first)
}

/// What limits would be held by, found by making a group and removing it.
pub(super) fn holders() -> io::Result<Held> {
    let limits = Limits {
        cpus: 1,
        memory_bytes: 1 << 30,
        scratch_bytes: 0,
        output_bytes: 0,
        processes: 16,
        wall: Duration::from_secs(1),
    };
    // A child that waits for its standard input to close.
    let mut child = std::process::Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()?;
    let applied = Applied::below(Path::new("/sys/fs/cgroup"), Pid::from_child(&child), limits);
    // A group is removed only once nothing is in it, so the child ends first.
    drop(child.stdin.take());
    let _status = child.wait()?;
    Ok(applied?.held())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            cpus: 2,
            memory_bytes: 1 << 20,
            scratch_bytes: 10,
            output_bytes: 5,
            processes: 8,
            wall: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_unified_group_is_filled_before_the_process_enters() {
        let mount = tempfile::tempdir().unwrap();
        let here = mount.path().join("user/app");
        fs::create_dir_all(&here).unwrap();
        fs::write(mount.path().join("cgroup.controllers"), "cpu memory pids").unwrap();
        // Own group: no controllers handed down. Beside it: they are.
        let own = "0::/user/app\n";
        let control = mount.path().join("user/cgroup.subtree_control");
        let pid = Pid::from_raw(1234).unwrap();
        assert!(unified(mount.path(), own, "chorion-x", pid, &limits()).is_none());
        fs::remove_file(here.join("cgroup.subtree_control")).unwrap();
        fs::write(&control, "cpu memory pids").unwrap();
        // A plain file takes the last write; the kernel's would keep all three.
        let made = make_group(
            mount.path().join("user/chorion-x"),
            Controllers::Unified,
            &[("memory.max", limits().all_memory_bytes().to_string(), true)],
            pid,
        )
        .unwrap();
        let read = |name: &str| fs::read_to_string(made.folder.join(name)).unwrap();
        assert_eq!(read("memory.max"), ((1 << 20) + 15 + SHARED_MEMORY_BYTES).to_string());
        assert_eq!(read("cgroup.procs"), "1234");
    }

    #[test]
    fn own_groups_are_read_for_both_hierarchies() {
        let own = "5:cpu,cpuacct:/slice\n4:memory:/slice/m\n0::/unified/path\n";
        assert_eq!(own_path(own, "cpuacct"), Some("/slice"));
        assert_eq!(own_path(own, "memory"), Some("/slice/m"));
        assert_eq!(own_path(own, ""), Some("/unified/path"));
        assert_eq!(own_path(own, "pids"), None);
    }

    #[test]
    fn a_separate_group_is_made_only_where_its_controller_is_mounted() {
        let mount = tempfile::tempdir().unwrap();
        let memory = mount.path().join("memory/slice");
        fs::create_dir_all(&memory).unwrap();
        fs::write(memory.join("cgroup.procs"), "").unwrap();
        let own = "4:memory:/slice\n3:pids:/slice\n";
        let pid = Pid::from_raw(77).unwrap();
        let make =
            |controllers| separate(mount.path(), own, "chorion-x", controllers, pid, &limits());
        let group = make(Controllers::Memory).unwrap();
        let limit = fs::read_to_string(group.folder.join("memory.limit_in_bytes")).unwrap();
        assert_eq!(limit, limits().all_memory_bytes().to_string());
        assert!(make(Controllers::Pids).is_none());
    }
}
