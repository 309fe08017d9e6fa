//! The systems that are compared: how each is started in front of the mock engine. Peers are run
//! as their own documentation says, with logs off; one that is not installed is named and left out.

use crate::process::Process;
use anyhow::{Result, bail};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

/// What forwards HTTP to an engine behind HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A reverse proxy: the floor of what forwarding costs.
    Nginx,
    /// PyPI `sglang-router`, round robin.
    SglangRouter,
    /// PyPI `vllm-router`, round robin.
    VllmRouter,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::SglangRouter => "sglang-router",
            Self::VllmRouter => "vllm-router",
        }
    }

    /// Where it is installed, if it is.
    fn program(self, peers: &Path) -> Option<PathBuf> {
        let places = [peers.join("bin"), "/usr/sbin".into(), "/usr/bin".into()];
        let script = match self {
            Self::Nginx => "nginx",
            // Their console scripts are Python; the launch modules are what they document.
            Self::SglangRouter | Self::VllmRouter => "python",
        };
        let installed = match self {
            Self::Nginx => true,
            other => peers.join("bin").join(other.name()).exists(),
        };
        places.iter().map(|place| place.join(script)).find(|path| installed && path.exists())
    }

    /// Starts it in front of `engines`, to wait so many seconds for one of them where it can be told.
    /// `None` if it is not installed.
    pub async fn start(
        self,
        (peers, folder, patience): (&Path, &Path, Option<u32>),
        engines: &[SocketAddr],
    ) -> Result<Option<(Process, SocketAddr)>> {
        let Some(program) = self.program(peers) else { return Ok(None) };
        let Some(program) = program.to_str() else { bail!("{} is no text", program.display()) };
        let address = free_address()?;
        let words = match self {
            Self::Nginx => nginx_words((folder, patience), address, engines)?,
            Self::SglangRouter => {
                python_words(("sglang_router.launch_router", patience), address, engines)?
            }
            Self::VllmRouter => {
                python_words(("vllm_router.launch_router", patience), address, engines)?
            }
        };
        let mut process = Process::start(program, &words)?;
        process.listening(address).await?;
        Ok(Some((process, address)))
    }
}

/// A port that was free a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn nginx_words(
    (folder, patience): (&Path, Option<u32>),
    address: SocketAddr,
    engines: &[SocketAddr],
) -> Result<Vec<String>> {
    // By default it sends no POST twice, so that a lost engine would cost an error.
    let patience = patience.map_or(String::new(), |seconds| {
        format!(
            "proxy_connect_timeout {seconds}s; proxy_read_timeout {seconds}s;
             proxy_next_upstream error timeout non_idempotent;"
        )
    });
    let servers: String = engines.iter().map(|engine| format!("server {engine};")).collect();
    let configuration = format!(
        "worker_processes 1; daemon off; pid {0}/nginx.pid; error_log /dev/null crit;
         worker_rlimit_nofile 65536;
         events {{ worker_connections 32768; }}
         http {{
           access_log off; tcp_nodelay on; keepalive_requests 1000000000; client_body_temp_path {0}/body;
           proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
           client_body_buffer_size 256k; client_max_body_size 2m;
           upstream engines {{ {servers} keepalive 2048; keepalive_requests 1000000000; }}
           server {{
             listen {address} backlog=4096;
             location / {{
               proxy_pass http://engines; proxy_http_version 1.1; proxy_set_header Connection \"\";
               proxy_buffering off; {patience}
             }}
           }}
         }}",
        folder.display()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    Ok(vec!["-c".into(), file.display().to_string(), "-p".into(), folder.display().to_string()])
}

fn python_words(
    (module, patience): (&str, Option<u32>),
    address: SocketAddr,
    engines: &[SocketAddr],
) -> Result<Vec<String>> {
    let mut words: Vec<String> =
        ["-m", module, "--host", "127.0.0.1", "--port"].map(Into::into).into();
    words.push(address.port().to_string());
    // Their default is fixed, and one of them may be running already.
    words.extend(["--prometheus-port".into(), free_address()?.port().to_string()]);
    words.extend(
        ["--policy", "round_robin", "--log-level", "error", "--worker-urls"].map(Into::into),
    );
    if let Some(seconds) = patience {
        words.extend(["--request-timeout-secs".into(), seconds.to_string()]);
    }
    words.extend(engines.iter().map(|engine| format!("http://{engine}")));
    Ok(words)
}
