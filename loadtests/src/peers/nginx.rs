//! nginx: a master and one worker, upstream keep-alive on.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Setup, route};

pub(super) fn command(program: &Path, setup: &Setup<'_>) -> Result<Command> {
    let file = setup.dir.join("nginx.conf");
    fs::write(&file, text(setup)).context("nginx.conf")?;
    let mut command = Command::new(program);
    command.arg("-p").arg(setup.dir).arg("-c").arg(file).arg("-e").arg(setup.dir.join("nginx.error"));
    Ok(command)
}

fn text(setup: &Setup<'_>) -> String {
    let dir = setup.dir.display();
    let mut out = format!(
        "daemon off;\nworker_processes 1;\npid {dir}/nginx.pid;\nerror_log {dir}/nginx.error crit;\n\
         worker_rlimit_nofile 20000;\nevents {{ worker_connections 18000; }}\nhttp {{\n  access_log off;\n  \
         keepalive_timeout 300s;\n  keepalive_requests 1000000000;\n  server_names_hash_max_size 65536;\n  \
         server_names_hash_bucket_size 128;\n  client_body_temp_path {dir}/body;\n  proxy_temp_path {dir}/proxy;\n  \
         fastcgi_temp_path {dir}/fastcgi;\n  uwsgi_temp_path {dir}/uwsgi;\n  scgi_temp_path {dir}/scgi;\n  \
         proxy_http_version 1.1;\n  proxy_set_header Connection \"\";\n  proxy_set_header Host $host;\n  \
         ssl_protocols TLSv1.3;\n  upstream origin {{ server {}; keepalive 8192; keepalive_requests 1000000000; \
         keepalive_timeout 300s; }}\n",
        setup.origin
    );
    if is_root() {
        out.insert_str(0, "user root;\n"); // the worker must reach the same files
    }
    let mut listen = format!("    listen 127.0.0.1:{} backlog=4096", setup.port);
    if setup.job.h2c {
        listen.push_str(" http2;\n");
    } else {
        let (chain, key) = (setup.certificate.chain.display(), setup.certificate.key.display());
        let _ = writeln!(out, "  ssl_certificate {chain};\n  ssl_certificate_key {key};");
        let _ = write!(listen, ";\n    listen 127.0.0.1:{} ssl http2 backlog=4096;\n", setup.tls_port);
    }
    let pass = if setup.job.h2c { "grpc_pass grpc://origin" } else { "proxy_pass http://origin" };
    if setup.job.routes == 0 {
        let _ = writeln!(out, "  server {{\n{listen}    location / {{ {pass}; }}\n  }}");
    }
    for i in 0..setup.job.routes {
        let (host, prefix) = route(i);
        // Options of a listening socket are given once.
        let again = format!(
            "    listen 127.0.0.1:{};\n    listen 127.0.0.1:{} ssl http2;\n",
            setup.port, setup.tls_port
        );
        let listen = if i == 0 { &listen } else { &again };
        let _ = writeln!(
            out,
            "  server {{\n{listen}    server_name {host};\n    location {prefix} {{ {pass}; }}\n  }}"
        );
    }
    out.push_str("}\n");
    out
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
