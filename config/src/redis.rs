//! A connection to Redis or Valkey, for many who ask at once. Nobody waits for a server that is away: while there is no
//! connection every question fails at once, and one task sees to another connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo as _, Pipeline, TlsCertificates,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::Redacted;
use crate::backoff::Backoff;

/// How long it may take to connect, and to log in.
const CONNECT: Duration = Duration::from_secs(1);
/// Failures in a row after which a connection is given up.
const MOST: u32 = 10;
/// Between two tries to connect.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// A connection that lasted so long was a good one: the next is tried for at once.
const GOOD: Duration = Duration::from_secs(10);

/// Where a server is, and who we are to it.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `redis://USER:PASSWORD@HOST:PORT/DB`, or `rediss:` for TLS.
    pub url: Redacted,
    /// Holds instead of the one in the URL.
    pub password: Option<Redacted>,
    /// Certificates, in PEM, that the server's has to come from. Default: those the system trusts.
    pub authority: Option<Vec<u8>>,
    /// What names of keys begin with, for several that use one database.
    pub prefix: String,
}

/// Why a server can never be asked: its settings are wrong.
#[derive(Debug, thiserror::Error)]
#[error("this is no way to Redis: write redis://HOST:PORT/DB, or rediss: for TLS")]
pub struct BadRedis(#[from] redis::RedisError);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Away {
    /// There is no connection; one is being tried for.
    #[error("there is no connection to Redis")]
    NotConnected,
    /// It does not answer in time.
    #[error("Redis does not answer within {0:?}")]
    Slow(Duration),
    /// The connection broke, or it answered with an error.
    #[error("Redis fails: {0}")]
    Failed(String),
}

/// A connection that comes again by itself, until this is dropped.
#[derive(Debug)]
pub struct Redis {
    shared: Arc<Shared>,
    prefix: String,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    /// For logs.
    address: String,
    connection: ArcSwapOption<MultiplexedConnection>,
    /// In a row.
    failures: AtomicU32,
    lost: Notify,
}

impl Redis {
    /// Begins to connect. Has to be called in a runtime.
    ///
    /// # Errors
    /// Settings that are wrong; not that nobody is there.
    pub fn open(settings: &RedisSettings) -> Result<Self, BadRedis> {
        let mut to = settings.url.reveal().into_connection_info()?;
        if let Some(password) = &settings.password {
            // It logs in.
            let login = to.redis_settings().clone().set_password(password.reveal());
            to = to.set_redis_settings(login);
        }
        // Questions are small, and somebody waits for each.
        to = to.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let address = to.addr().to_string();
        let client = match settings.authority.clone() {
            None => Client::open(to)?,
            root_cert => Client::build_with_tls(to, TlsCertificates { client_tls: None, root_cert })?,
        };
        let shared = Arc::new(Shared {
            client,
            address,
            connection: ArcSwapOption::empty(),
            failures: AtomicU32::new(0),
            lost: Notify::new(),
        });
        let task = tokio::spawn(keep(Arc::clone(&shared)));
        Ok(Self { shared, prefix: settings.prefix.clone(), task })
    }

    /// The whole name of a key.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.connection.load().is_some()
    }

    /// Asks; all commands go out together.
    ///
    /// # Errors
    /// No answer in time, or an error to any of the commands. Others may have been carried out.
    pub async fn ask<T: FromRedisValue>(&self, commands: &Pipeline, within: Duration) -> Result<T, Away> {
        let shared = &self.shared;
        let Some(connection) = shared.connection.load_full() else { return Err(Away::NotConnected) };
        let mut asked = MultiplexedConnection::clone(&connection);
        let (away, is_broken) = match timeout(within, commands.query_async(&mut asked)).await {
            Ok(Ok(answer)) => {
                if shared.failures.load(Relaxed) > 0 {
                    shared.failures.store(0, Relaxed);
                }
                return Ok(answer);
            }
            Ok(Err(error)) => (Away::Failed(error.to_string()), error.is_unrecoverable_error()),
            Err(_) => (Away::Slow(within), false),
        };
        if shared.failures.fetch_add(1, Relaxed) + 1 >= MOST || is_broken {
            shared.lose(&connection, &away);
        }
        Err(away)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// Gives a connection up, if it is the one in use.
    fn lose(&self, connection: &Arc<MultiplexedConnection>, why: &Away) {
        let before = self.connection.compare_and_swap(connection, None);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, connection)) {
            tracing::warn!(redis = self.address, "{why}; it is not asked until it answers");
            self.lost.notify_one();
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
        let connect = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            // One that loads its data, or wants a password, accepts connections, too.
            redis::cmd("PING").exec_async(&mut connection).await?;
            Ok(connection)
        };
        let connected = timeout(2 * CONNECT, connect).await;
        connected
            .map_err(|_| "it does not answer".to_owned())?
            .map_err(|error: redis::RedisError| error.to_string())
    }
}

/// Connects, as often as there is no connection. Says once that there is none.
async fn keep(shared: Arc<Shared>) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    let mut is_told = false;
    loop {
        match shared.connect().await {
            Ok(connection) => {
                tracing::info!(redis = shared.address, "connected");
                is_told = false;
                let since = Instant::now();
                shared.failures.store(0, Relaxed);
                shared.connection.store(Some(Arc::new(connection)));
                shared.lost.notified().await;
                if since.elapsed() >= GOOD {
                    backoff.reset();
                }
            }
            Err(error) if !std::mem::replace(&mut is_told, true) => {
                tracing::warn!(redis = shared.address, error, "cannot connect; trying on");
            }
            Err(_) => {}
        }
        sleep(backoff.next()).await;
    }
}
