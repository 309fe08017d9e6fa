//! A system under test as a process of its own on a core of its own, and what it uses: processor
//! time and memory of it and all its children, as the kernel counts them.

use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::{net::TcpStream, time};

/// The core of the system under test; everything else runs on [`OTHER_CORE`].
pub const TESTED_CORE: &str = "0";
/// The core of the mock engine and the load generator.
pub const OTHER_CORE: &str = "1";

/// The kernel's unit of processor time (`USER_HZ` of every Linux ABI).
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: u64 = 4096;
const START_LIMIT: Duration = Duration::from_secs(60);

/// Ends when dropped, with all its children.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a program on the tested core, in a process group of its own.
    pub fn start(program: &str, words: &[String]) -> Result<Self> {
        let child = Command::new("setsid")
            .args(["taskset", "-c", TESTED_CORE, program])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {program}"))?;
        Ok(Self { child })
    }

    /// Waits until it listens.
    pub async fn listening(&mut self, address: SocketAddr) -> Result<()> {
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                ensure!(self.child.try_wait()?.is_none(), "it ended at its start");
                time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        match time::timeout(START_LIMIT, listening).await {
            Ok(listening) => listening,
            Err(_) => bail!("nothing listens on {address} after {START_LIMIT:?}"),
        }
    }

    /// Processor seconds used since its start.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let ticks: u64 = family(self.child.id())?.iter().map(|member| member.ticks).sum();
        Ok(f64::from(u32::try_from(ticks)?) / TICKS_PER_SECOND)
    }

    /// Bytes of memory it holds now.
    pub fn resident_bytes(&self) -> Result<u64> {
        Ok(family(self.child.id())?.iter().map(|member| member.pages * PAGE_BYTES).sum())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        // It may have ended; then there is nothing to end.
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

struct Member {
    parent: u32,
    ticks: u64,
    pages: u64,
}

/// A process and its descendants.
fn family(root: u32) -> Result<Vec<Member>> {
    let mut all = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok())
            && let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat"))
        {
            all.insert(id, parse(&stat).context("an unknown form of /proc/*/stat")?);
        }
    }
    let is_descendant = |mut id: u32| loop {
        if id == root {
            return true;
        }
        match all.get(&id) {
            Some(member) => id = member.parent,
            None => return false,
        }
    };
    let ids: Vec<u32> = all.keys().copied().filter(|id| is_descendant(*id)).collect();
    Ok(ids.iter().filter_map(|id| all.remove(id)).collect())
}

/// proc(5): the fields after the name, which stands in brackets and may contain anything.
fn parse(stat: &str) -> Option<Member> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Member {
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)?,
        pages: number(21)?,
    })
}
