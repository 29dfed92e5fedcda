//! `sessionPersistence` of a rule (GEP-1619), HTTP or gRPC.

use policies::session_persistence::{LifetimeType, SessionPersistence, SessionType, default_name};

use crate::status::Problem;

/// As the user wrote it.
#[derive(Debug)]
pub(crate) struct SessionSource<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) kind: SessionType,
    pub(crate) absolute_timeout: Option<&'a str>,
    /// Of Gateway API before 1.6.
    pub(crate) idle_timeout: Option<&'a str>,
    pub(crate) lifetime_type: Option<LifetimeType>,
}

/// Fields of one of the types, which are the same for both kinds of route.
macro_rules! session {
    ($rule:expr, $type:ident, $lifetime:ident) => {
        $rule.session_persistence.as_ref().map(|session| $crate::translate::session::SessionSource {
            name: session.session_name.as_deref(),
            kind: match session.r#type {
                Some($type::Header) => policies::session_persistence::SessionType::Header,
                Some($type::Cookie) | None => policies::session_persistence::SessionType::Cookie,
            },
            absolute_timeout: session.absolute_timeout.as_deref(),
            idle_timeout: session.idle_timeout.as_deref(),
            lifetime_type: session.cookie_config.as_ref().map(|config| match config.lifetime_type {
                Some($lifetime::Permanent) => policies::session_persistence::LifetimeType::Permanent,
                Some($lifetime::Session) | None => policies::session_persistence::LifetimeType::Session,
            }),
        })
    };
}
pub(crate) use session;

impl SessionSource<'_> {
    /// `scope`: which rule it is of.
    pub(crate) fn read(&self, scope: &str) -> Result<SessionPersistence, Problem> {
        let unsupported = |message| Err(Problem::unsupported(format!("sessionPersistence.{message}")));
        if self.idle_timeout.is_some() {
            return unsupported("idleTimeout: proxies keep no sessions: use absoluteTimeout".to_owned());
        }
        if self.kind == SessionType::Header && self.lifetime_type.is_some() {
            return unsupported("cookieConfig: goes with type Cookie only: remove it".to_owned());
        }
        let absolute_timeout = match self.absolute_timeout.map(str::parse) {
            Some(Ok(timeout)) => Some(timeout),
            Some(Err(problem)) => return unsupported(format!("absoluteTimeout: {problem}")),
            None => None,
        };
        Ok(SessionPersistence {
            session_name: self.name.map_or_else(|| default_name(scope), str::to_owned),
            scope: scope.to_owned(),
            kind: self.kind,
            absolute_timeout,
            lifetime_type: self.lifetime_type.unwrap_or_default(),
        })
    }
}
