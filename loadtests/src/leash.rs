//! Children that cannot outlive the program: each runs below a copy of this binary that stops it, and everything it
//! started, once its standard input ends, whatever ended the parent.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::args::LeashArgs;
use crate::procfs;

/// A running child. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Leashed {
    leash: Child,
    stdin: Option<ChildStdin>,
    pid: u32,
}

impl Leashed {
    /// Starts `command` on `core`, if given; what it prints goes to the file `log`.
    pub(crate) fn spawn(command: &Command, core: Option<usize>, log: &Path) -> Result<Self> {
        let mut leash = Command::new(std::env::current_exe().context("own path")?);
        leash.arg("leash");
        if let Some(core) = core {
            leash.args(["--core", &core.to_string()]);
        }
        leash.arg("--").arg(command.get_program()).args(command.get_args());
        if let Some(dir) = command.get_current_dir() {
            leash.current_dir(dir);
        }
        leash.process_group(0); // Ctrl-C is for the parent: when it is gone the leash stops all in order
        let log = File::create(log).with_context(|| log.display().to_string())?;
        let mut leash =
            leash.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().context("leash")?;
        let stdin = leash.stdin.take();
        let mut first = String::new();
        if let Some(stdout) = leash.stdout.take() {
            BufReader::new(stdout).read_line(&mut first).context("leash")?;
        }
        match first.trim().parse() {
            Ok(pid) => Ok(Self { leash, stdin, pid }),
            Err(_) => bail!("{}: did not start", command.get_program().display()),
        }
    }

    /// Its process id.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid, signal);
    }

    /// False once it has ended.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.leash.try_wait(), Ok(None))
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        self.stdin = None; // end of input: the leash stops everything
        let _ = self.leash.wait();
    }
}

fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal); // it may have ended: nothing to do then
    }
}

/// The leash itself: see the module.
pub(crate) fn run(args: &LeashArgs) -> Result<()> {
    if let Some(core) = args.core {
        pin(core)?;
    }
    let (program, rest) = args.command.split_first().context("no command")?;
    let mut child = Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .stdout(Stdio::from(io::stderr()))
        .spawn()
        .with_context(|| program.clone())?;
    let pid = child.id();
    writeln!(io::stdout(), "{pid}").context("parent")?;
    io::stdout().flush().context("parent")?;
    let is_stopping = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_stopping);
    let stopper = thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::SeqCst);
        stop(pid);
    });
    child.wait().context("wait")?;
    if is_stopping.load(Ordering::SeqCst) {
        let _ = stopper.join(); // what the child started may need longer than the child
    }
    Ok(())
}

/// SIGTERM, and after a second SIGKILL to all that is left of the tree.
fn stop(pid: u32) {
    let tree = procfs::tree(pid);
    kill(pid, Signal::TERM);
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end && tree.iter().any(|p| is_alive(*p)) {
        thread::sleep(Duration::from_millis(5));
    }
    // A pid that was in the tree and is alive a second later is still that process.
    tree.into_iter().filter(|p| is_alive(*p)).for_each(|p| kill(p, Signal::KILL));
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|s| s.rfind(')').and_then(|i| s.get(i + 2..i + 3)).is_some_and(|state| state != "Z"))
}

/// Keeps this process and what it starts on one CPU.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).with_context(|| format!("pin to CPU {core}"))
}
