//! The chain in a process of its own, so that it can be killed and its memory read from outside.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cactus_localnet::{Localnet, LocalnetConfig};
use tokio_util::sync::CancellationToken;

/// A chain in another process; killed when dropped.
pub struct ChainProcess {
    process: Child,
    /// The faucet's URL; the API is under `/v1`.
    pub root: String,
}

/// Serves the chain in `directory` until the process ends. Its first line of output is its URL.
pub async fn serve(directory: &Path) {
    let config =
        LocalnetConfig { data_dir: Some(directory.to_owned()), ..LocalnetConfig::default() };
    let chain = Localnet::open(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::signal::ctrl_c().await.unwrap();
        stopping.cancel();
    });
    chain.serve(listener, stop).await.unwrap();
}

impl ChainProcess {
    /// Starts a chain and waits until it has bound its port.
    pub fn start(directory: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut root = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut root).unwrap();
        Self { process, root: root.trim().to_owned() }
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Ctrl-C, and then waits until it has ended.
    pub fn stop(mut self) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.process.wait().unwrap();
    }
}

impl Drop for ChainProcess {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Kibibytes under `name` in `/proc/PID/status`.
pub fn memory_kib(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// Processor seconds that a process has used. They show what a machine with other work on it hides.
pub fn processor_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u32>().unwrap();
    // Clock ticks are hundredths of a second on every Linux that Rust runs on.
    f64::from(ticks(11) + ticks(12)) / 100.0
}
