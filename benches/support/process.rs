use std::fs;
use std::process::{Command, Stdio};

/// Resident memory of this process at its peak, from the kernel.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1_024)
}

/// Processor time of all threads of this process so far, in user and kernel mode.
pub fn cpu_seconds() -> Option<f64> {
    Some(seconds(Stat::of("self")?.own_ticks))
}

/// The same of a process and its children, those that have ended included.
pub fn cpu_seconds_of_family(process: u32) -> Option<f64> {
    let parent = Stat::of(&process.to_string())?;
    let children = children(process).into_iter().filter_map(|child| Stat::of(&child)).map(|child| child.own_ticks);
    Some(seconds(parent.own_ticks + parent.ended_ticks + children.sum::<u64>()))
}

/// Processor time that the whole machine has used so far, whoever did, a hypervisor's other guests included.
pub fn cpu_seconds_of_machine() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    // user nice system idle iowait irq softirq steal; guests are part of user.
    let ticks = stat.lines().next()?.split_whitespace().skip(1).take(8).map(|ticks| ticks.parse::<u64>().ok());
    let ticks: Vec<u64> = ticks.collect::<Option<_>>()?;
    let idle = ticks.get(3..5)?;
    Some(seconds(ticks.iter().sum::<u64>() - idle.iter().sum::<u64>()))
}

/// Binds a process, its threads and its children to these processors (`0-3,7`); false where that cannot be done.
pub fn bind_family(process: u32, processors: &str) -> bool {
    let mut all = children(process);
    all.push(process.to_string());
    all.iter().all(|process| {
        let mut taskset = Command::new("taskset");
        taskset.args(["-a", "-c", "-p", processors, process]).stdout(Stdio::null()).stderr(Stdio::null());
        taskset.status().is_ok_and(|status| status.success())
    })
}

fn children(process: u32) -> Vec<String> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().into_string().ok());
    numbers.filter(|number| Stat::of(number).is_some_and(|stat| stat.parent == process)).collect()
}

struct Stat {
    parent: u32,
    own_ticks: u64,
    /// Of children that have ended.
    ended_ticks: u64,
}

impl Stat {
    fn of(process: &str) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The command's name may hold spaces; everything is counted from behind it.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own_ticks: ticks(11)? + ticks(12)?,
            ended_ticks: ticks(13)? + ticks(14)?,
        })
    }
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}
