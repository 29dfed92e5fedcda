//! Accepting on ports that are not the data path: bounded in number, and never ended by an error.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Serves at most so many connections at one time; more wait in the system's queue. Dropping the future closes the port
/// and ends its connections. `port` names it in the log.
pub async fn accept<F>(
    listener: TcpListener,
    at_most: usize,
    port: &'static str,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(at_most));
    // Dropped with this future, so that its connections end.
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((socket, peer)) => {
                let served = serve(socket, peer);
                connections.spawn(async move {
                    let _place = place;
                    served.await;
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: they come back when connections end.
                tracing::warn!(%error, "{port} cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
