//! The `fairway` command. Subcommands are thin: what they do is in the libraries.

mod args;
mod certificates;
mod commands;
mod demo;
mod fetch;
mod findings;
mod input;
mod output;
mod standalone;
mod table;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};

/// Requests make many small, short-lived allocations; the system's allocator costs several percent of CPU there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Findings.
const FAILURE: u8 = 1;
/// Wrong usage; clap's code too.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        Command::Standalone(args) => commands::standalone::run(&args),
        Command::Translate(args) => commands::translate::run(&args),
        Command::Validate(args) => commands::validate::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Trace(args) => commands::trace::run(&args),
        Command::Controller(args) => commands::controller::run(args),
        Command::Install(args) => commands::install::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Status(args) => commands::status::run(&args),
        Command::Rls(args) => commands::rls::run(&args),
        Command::Limits(args) => commands::limits::run(&args),
        Command::Waypoint(args) => commands::waypoint::run(&args),
        Command::Demo(args) => commands::demo::run(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILURE),
        Err(error) => {
            output::error(&format!("error: {error:#}"));
            ExitCode::from(USAGE)
        }
    }
}
