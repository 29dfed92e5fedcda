//! Pingora's `HttpProxy` with a connector of ours.
//!
//! Pingora makes one only inside a service of its own, which gives it to nobody, except to the handler of connections
//! in a protocol of one's own. So such a service is started on a free port of loopback, one connection is made to it,
//! and its handler hands the proxy out; then port and service are gone. Once per worker, at the start.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pingora_core::apps::HttpServerOptions;
use pingora_core::server::Fds;
use pingora_core::server::configuration::ServerConf;
use pingora_core::services::Service as _;
use pingora_proxy::{HttpProxy, ProcessCustomSession, ProxyServiceBuilder};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::Connector;
use crate::engine::Engine;

/// Pingora's proxy with our engine and our connections.
pub(crate) type Frame = HttpProxy<Engine, Connector>;

/// Nothing here waits for anybody else.
const LONGEST: Duration = Duration::from_secs(10);

/// Makes one, on the runtime it will work on, which another thread drives: that one does it, since whatever a thread of its
/// own allocated would stay with the process. Waits for it.
///
/// # Errors
/// When loopback cannot be used.
pub(crate) fn frame(conf: Arc<ServerConf>, engine: Engine, runtime: &Handle) -> io::Result<Arc<Frame>> {
    let (give, given) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        // Nobody waits any more only when the process ends.
        let _ = give.send(timeout(LONGEST, make(conf, engine)).await);
    });
    given.recv().map_err(|_| io::Error::other("a bug in making the proxy"))??
}

async fn make(conf: Arc<ServerConf>, engine: Engine) -> io::Result<Arc<Frame>> {
    let (give, mut given) = mpsc::unbounded_channel();
    let handler: ProcessCustomSession<Engine, Connector> = Arc::new(move |frame, _, _| {
        let _ = give.send(frame);
        Box::pin(std::future::ready(None))
    });
    let mut options = HttpServerOptions::default();
    options.force_custom = true;
    let builder = ProxyServiceBuilder::new(&conf, engine).custom(Connector, handler);
    let mut service = builder.server_options(options).build();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let mut sockets = Fds::new();
    sockets.add(address.to_string(), listener.into_raw_fd());
    service.add_tcp(&address.to_string());
    let (stop, stopped) = watch::channel(false);
    let frame = {
        let running = service.start_service(Some(Arc::new(Mutex::new(sockets))), stopped, 1);
        let asking = async {
            let _connection = TcpStream::connect(address).await?;
            given.recv().await.ok_or_else(|| io::Error::other("the proxy is not handed out"))
        };
        tokio::select! {
            () = running => Err(io::Error::other("the service has ended")),
            frame = asking => frame,
        }
    };
    // Ends the loop that accepts; the service itself is dropped where it stands, so that it does not shut the proxy down.
    let _ = stop.send(true);
    frame
}
