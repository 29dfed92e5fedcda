//! HAProxy: one process, one thread, connections to the backend shared by all clients.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Setup, route};

pub(super) fn command(program: &Path, setup: &Setup<'_>) -> Result<Command> {
    let file = setup.dir.join("haproxy.cfg");
    let map = setup.dir.join("haproxy.map");
    // Prefix match on host and path in a tree: HAProxy's own way to hold many routes.
    let routes = (0..setup.job.routes).map(route).fold(String::new(), |mut all, (host, prefix)| {
        let _ = writeln!(all, "{host}{prefix} origin");
        all
    });
    fs::write(&map, routes).context("haproxy.map")?;
    fs::write(&file, text(setup, &map)).context("haproxy.cfg")?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

fn text(setup: &Setup<'_>, map: &Path) -> String {
    let mut bind = format!("  bind 127.0.0.1:{} backlog 4096", setup.port);
    if setup.job.h2c {
        bind.push_str(" proto h2");
    } else {
        let both = setup.certificate.both.display();
        let _ = write!(
            bind,
            "\n  bind 127.0.0.1:{} backlog 4096 ssl crt {both} alpn h2,http/1.1 ssl-min-ver TLSv1.3",
            setup.tls_port
        );
    }
    let choice = if setup.job.routes == 0 {
        "default_backend origin".to_owned()
    } else {
        format!("use_backend %[base,map_beg({})]", map.display())
    };
    let proto = if setup.job.h2c { "proto h2 " } else { "" };
    format!(
        "global\n  nbthread 1\n  maxconn 9000\ndefaults\n  mode http\n  option http-keep-alive\n  \
         http-reuse always\n  timeout connect 5s\n  timeout client 300s\n  timeout server 300s\n  \
         timeout http-keep-alive 300s\n  timeout http-request 300s\nfrontend clients\n{bind}\n  {choice}\n\
         backend origin\n  server s {} {proto}pool-purge-delay 300s\n",
        setup.origin
    )
}
