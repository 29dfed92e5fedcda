//! Attacks on the wire, vector by vector, against Fairway and its peers.
//!
//! Raw sockets in front, an origin that keeps every byte behind. After each vector a plain request must be answered as
//! if nothing had happened: else a connection was poisoned.

mod answers;
mod hpack;
mod http1;
mod http2;
mod judge;
mod origin;
mod report;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::args::WireArgs;
use crate::certificate::Certificate;
use crate::client::io::Address;
use crate::install;
use crate::peers::{Job, Kind, Peer};
use crate::proxy::{Bench, Running, Scratch};
use crate::report::complain;
use judge::Seen;
use origin::Origin;
use report::Column;
use table::{Class, Vector};

/// What still travels to the origin when the client has its answer has this long to show.
const SETTLE: Duration = Duration::from_millis(20);

/// How a vector went.
#[derive(Debug)]
struct Verdict {
    id: String,
    brief: String,
    wrong: Option<String>,
}

/// Runs the suite.
///
/// # Errors
/// When the vectors cannot be read or a proxy does not start.
pub(crate) async fn run(args: &WireArgs) -> Result<bool> {
    let mut classes = table::load(&args.vectors)?;
    for class in &mut classes {
        class.vectors.retain(|v| args.only.is_empty() || args.only.iter().any(|only| v.id.contains(only)));
    }
    let scratch = Scratch::create()?;
    let certificate = Certificate::create(scratch.path())?;
    let origin = Origin::start().await?;
    let bench = Bench {
        origin: origin.address,
        certificate: &certificate,
        issuer: None,
        dir: scratch.path(),
        core: None,
    };
    let mut columns = Vec::new();
    for kind in kinds(&args.peers)? {
        let Some(program) = program(kind, args)? else { continue };
        origin.prepare(None);
        let running = Running::start(&Peer { kind, program }, Job::PLAIN, &bench).await?;
        let mut verdicts = Vec::new();
        for vector in classes.iter().flat_map(|class| &class.vectors) {
            verdicts.push(try_out(vector, &running, &certificate, &origin).await?);
        }
        columns.push(Column { name: kind.name(), is_ours: kind == Kind::Fairway, verdicts });
    }
    report::print(&classes, &columns);
    if let Some(path) = &args.markdown {
        std::fs::write(path, report::markdown(&classes, &columns))
            .with_context(|| path.display().to_string())?;
    }
    Ok(columns.iter().filter(|column| column.is_ours).all(|column| report::is_as_said(&classes, column)))
}

fn kinds(names: &[String]) -> Result<Vec<Kind>> {
    names
        .iter()
        .map(|name| {
            let known = [Kind::Fairway, Kind::Nginx, Kind::Haproxy];
            known
                .into_iter()
                .find(|kind| kind.name() == name)
                .with_context(|| format!("--peers {name}: one of fairway, nginx, haproxy"))
        })
        .collect()
}

fn program(kind: Kind, args: &WireArgs) -> Result<Option<PathBuf>> {
    if kind == Kind::Fairway {
        return match &args.fairway {
            Some(program) => Ok(Some(program.canonicalize().with_context(|| program.display().to_string())?)),
            None => install::build("fairway-gateway", "fairway-gateway").map(Some),
        };
    }
    let found = install::find(kind, &install::default_cache());
    if found.is_none() {
        complain(format_args!("{} is not there, left out: {}", kind.name(), install::remedy(kind)));
    }
    Ok(found.map(|peer| peer.program))
}

async fn try_out(
    vector: &Vector,
    running: &Running,
    certificate: &Certificate,
    origin: &Origin,
) -> Result<Verdict> {
    origin.prepare(vector.reply.as_ref());
    let must = &vector.must;
    let seen: Seen = if vector.frames.is_empty() {
        let closes = must.closes || must.cut || !must.refuse.is_empty();
        http1::exchange(running.http, &vector.send, closes).await?.into()
    } else {
        let address = Address { socket: running.https, tls: Some(certificate.http2.clone()) };
        http2::exchange(&address, &vector.frames, !must.goaway.is_empty()).await?.into()
    };
    tokio::time::sleep(SETTLE).await;
    let judged = judge::judge(must, &seen, &origin.seen());
    let wrong = match judged {
        Ok(()) => probe(running, origin).await.err().map(|error| error.to_string()),
        Err(wrong) => {
            // It may still have poisoned a connection of the next vector.
            let _ = probe(running, origin).await;
            Some(wrong)
        }
    };
    Ok(Verdict { id: vector.id.clone(), brief: seen.brief(), wrong })
}

/// A plain request, on a connection of its own.
async fn probe(running: &Running, origin: &Origin) -> Result<()> {
    origin.prepare(None);
    let request = ["GET /probe HTTP/1.1⏎Host: a.test⏎Connection: close⏎⏎".to_owned()];
    let told = http1::exchange(running.http, &request, false).await?;
    let seen = origin.seen();
    let [answer] = told.answers.as_slice() else { bail!("afterwards: {} answers", told.answers.len()) };
    if answer.status() != 200 || answer.body != b"ok" {
        bail!("afterwards: {} {:?}", answer.status(), String::from_utf8_lossy(&answer.body));
    }
    match seen.as_slice() {
        [request] if request.is_complete && request.line() == "GET /probe HTTP/1.1" => Ok(()),
        _ => bail!(
            "afterwards the origin got {:?}",
            seen.iter().map(answers::Message::line).collect::<Vec<_>>()
        ),
    }
}

/// All vectors of a class by one column's verdicts: how many hold.
fn count(class: &Class, column: &Column) -> usize {
    class.vectors.iter().filter(|vector| column.of(&vector.id).is_some_and(|v| v.wrong.is_none())).count()
}
