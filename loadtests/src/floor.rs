//! The floor: the least a Pingora proxy can do, with its own listeners and no policy. Fairway is measured against it.
use std::{collections::HashMap, net::SocketAddr};

use async_trait::async_trait;
use pingora_core::apps::HttpServerOptions;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::protocols::ALPN;
use pingora_core::server::{Server, configuration::ServerConf};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

use crate::args::FloorArgs;

struct Floor {
    peer: HttpPeer,
    prefixes: HashMap<String, String>,
}

#[async_trait]
impl ProxyHttp for Floor {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, session: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        let head = session.req_header();
        let host = head.headers.get("host").and_then(|h| h.to_str().ok()).or(head.uri.host());
        let prefix = host.and_then(|h| self.prefixes.get(h));
        if self.prefixes.is_empty() || prefix.is_some_and(|p| head.uri.path().starts_with(&**p)) {
            return Ok(Box::new(self.peer.clone()));
        }
        Error::e_explain(ErrorType::HTTPStatus(404), "no route")
    }
}

/// Serves until it is signalled.
pub(crate) fn run(args: &FloorArgs) -> anyhow::Result<()> {
    let mut conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 8192, ..ServerConf::default() };
    (conf.grace_period_seconds, conf.graceful_shutdown_timeout_seconds) = (Some(0), Some(0));
    let mut peer = HttpPeer::new(args.upstream, false, String::new());
    if args.h2c {
        (peer.options.alpn, peer.options.max_h2_streams) = (ALPN::H2, 128);
    }
    let prefixes = (0..args.routes).map(|i| (format!("r{i}.example.com"), format!("/p{i}/"))).collect();
    let mut server = Server::new_with_opt_and_conf(None, conf);
    let mut service = http_proxy_service(&server.configuration, Floor { peer, prefixes });
    let mut options = HttpServerOptions::default();
    options.h2c = args.h2c;
    service.app_logic_mut().into_iter().for_each(|app| app.server_options = Some(options.clone()));
    service.add_tcp(&SocketAddr::new(args.address, args.port).to_string());
    if let (Some(port), Some(cert), Some(key)) = (args.tls_port, &args.cert, &args.key) {
        let mut tls = TlsSettings::intermediate(cert, key)?;
        tls.enable_h2();
        service.add_tls_with_settings(&SocketAddr::new(args.address, port).to_string(), None, tls);
    }
    server.add_service(service);
    server.run_forever()
}
