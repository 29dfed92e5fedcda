//! Load, routes at scale and churn for Fairway, as ratios beside peers in the same run.
//!
//! One thread: the load and its backend take turns on one CPU, the proxy has the other to itself.

mod args;
mod certificate;
mod churn;
mod client;
mod compare;
mod floor;
mod histogram;
mod hop;
mod install;
mod issuer;
mod leash;
mod origin;
mod overload;
mod peers;
mod procfs;
mod propagate;
mod proxy;
mod report;
mod scenario;
mod soak;
mod standalone;
mod wire;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use args::{Cli, Command};

/// Fairway has it too, so that memory is compared like with like.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::complain(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<bool> {
    match cli.command {
        Command::Floor(args) => floor::run(&args).map(|()| true),
        Command::Leash(args) => leash::run(&args).map(|()| true),
        Command::Origin(args) => block_on(origin::run(&args)).map(|()| true),
        Command::Compare(args) => block_on(compare::run(&args)),
        Command::Propagate(args) => block_on(propagate::run(&args)),
        Command::Churn(args) => block_on(churn::run(&args)),
        Command::Soak(args) => block_on(soak::run(&args)),
        Command::Overload(args) => block_on(overload::run(&args)),
        Command::Hop(args) => block_on(hop::run(&args)),
        Command::Wire(args) => block_on(wire::run(&args)),
    }
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime")?;
    runtime.block_on(Box::pin(work))
}

/// As many open files as the system lets this process and its children have.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
