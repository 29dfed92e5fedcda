//! Arguments.

mod demo;
mod rls;
mod waypoint;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use controller::NAMESPACE;
use proxy::telemetry::AccessLog;

pub(crate) use self::demo::{Demo, DemoCommand};
pub(crate) use self::rls::{Redis, Rls};
pub(crate) use self::waypoint::{Waypoint, WaypointCommand};

/// A gateway-centric service mesh, configured by the Kubernetes Gateway API.
#[derive(Debug, Parser)]
#[command(
    name = "fairway",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  fairway standalone examples/quickstart         serve a directory of manifests, live
  fairway validate -f examples/quickstart        find mistakes; exit code 1 if there are any
  fairway explain shop.demo -f examples/quickstart
  fairway install | kubectl apply --server-side -f -   into a cluster
  fairway check                                  does it work there?
Each command explains itself: fairway COMMAND --help"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Standalone(Standalone),
    Translate(Translate),
    Validate(Validate),
    Explain(Explain),
    Trace(Trace),
    Controller(Controller),
    Install(Install),
    Check(Check),
    Status(Status),
    Rls(Rls),
    Limits(Limits),
    Waypoint(Waypoint),
    Demo(Demo),
}

/// Serve manifests from files: gateway and waypoint in this process, live.
///
/// Takes the YAML a cluster takes and watches it: a saved file is served at once; one that does not load is refused
/// with file, line, field and remedy, and what it said last serves on. Services annotated `fairway.dev/demo` get demo
/// pods on loopback, Secrets annotated `fairway.dev/self-signed` a certificate. Ctrl-C drains; a second one ends at
/// once.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fairway standalone examples/quickstart
  fairway standalone -f gateway.yaml -f routes/ --access-log stdout
  fairway standalone . --admin 127.0.0.1:9000 --otlp-endpoint http://127.0.0.1:4317")]
pub(crate) struct Standalone {
    /// Directories and files to serve.
    #[arg(value_name = "DIR")]
    pub(crate) paths: Vec<PathBuf>,
    /// The same, as `kubectl apply` writes it.
    #[arg(short, long = "file", value_name = "DIR")]
    pub(crate) files: Vec<PathBuf>,
    /// Where /livez, /readyz, /metrics, /config and /limits are served; `off` for nowhere. Loopback only.
    #[arg(long, default_value = "127.0.0.1:15000", value_name = "ADDRESS", value_parser = admin)]
    pub(crate) admin: Admin,
    /// One JSON line per request: `off`, `stdout` or a file.
    #[arg(long, default_value = "off", value_name = "off|stdout|FILE")]
    pub(crate) access_log: AccessLog,
    /// OTLP/gRPC collector for traces, such as http://127.0.0.1:4317.
    #[arg(long, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Threads that serve requests. Default: one per processor.
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Do not watch the files.
    #[arg(long)]
    pub(crate) no_watch: bool,
    /// How long requests in flight may take to end when draining.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    pub(crate) drain: Duration,
    /// Ports for the waypoint, one per captured Service port.
    #[arg(long, default_value = "20000-29999", value_name = "FROM-TO", value_parser = ports)]
    pub(crate) waypoint_ports: RangeInclusive<u16>,
    /// Namespace that a controller would be in: only there can policies be about a GatewayClass.
    #[arg(long, default_value = NAMESPACE, value_name = "NAME")]
    pub(crate) controller_namespace: String,
}

/// Manifests, and what is known of the cluster they are for.
#[derive(Debug, clap::Args)]
pub(crate) struct Manifests {
    /// Directories and files to read.
    #[arg(short, long = "file", value_name = "DIR", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Namespace of the controller: only there can policies be about a GatewayClass.
    #[arg(long, default_value = NAMESPACE, value_name = "NAME")]
    pub(crate) controller_namespace: String,
}

/// Show what manifests mean: the proxies' configuration and every status.
///
/// Nothing is started. Private keys are never printed. `Programmed` is Unknown: no proxy has been asked.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fairway translate -f examples/quickstart
  fairway translate -f . --status-only
  fairway translate -f . --resources-only -o json | jq 'keys'")]
pub(crate) struct Translate {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    /// Form.
    #[arg(short, long, default_value = "yaml", value_name = "FORM")]
    pub(crate) output: Form,
    /// Only the proxies' configuration.
    #[arg(long, conflicts_with = "status_only")]
    pub(crate) resources_only: bool,
    /// Only the statuses.
    #[arg(long)]
    pub(crate) status_only: bool,
}

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    Yaml,
    Json,
}

/// Find mistakes in manifests, as an API server and the controller would.
///
/// Exit code 0: none. 1: there are findings. 2: wrong usage. Codes are stable (FW01xx: a manifest does not load;
/// FW02xx: a status would be False) and described in docs/cli.md.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fairway validate -f examples/quickstart
  fairway validate -f . -o github                annotations on a pull request
  fairway validate -f . -o sarif > fairway.sarif")]
pub(crate) struct Validate {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    /// Form.
    #[arg(short, long, default_value = "text", value_name = "FORM")]
    pub(crate) output: Report,
}

/// A form of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Report {
    /// One line each.
    Text,
    /// A list of objects.
    Json,
    /// Workflow commands of GitHub Actions.
    Github,
    /// SARIF 2.1.0.
    Sarif,
}

/// Explain a route: for each rule its place in match order, its policies with the field each came from, its backends.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fairway explain shop.demo -f examples/quickstart              HTTPRoute or GRPCRoute shop in namespace demo
  fairway explain httproute/shop -f examples/quickstart
  fairway explain tlsroute/db -f examples/l4
  fairway explain shop.demo -f examples/quickstart -o json")]
pub(crate) struct Explain {
    /// [KIND/]NAME[.NAMESPACE]; KIND: httproute, grpcroute, tlsroute, tcproute or udproute
    #[arg(value_name = "ROUTE")]
    pub(crate) route: String,
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    /// Form.
    #[arg(short, long, default_value = "text", value_name = "FORM")]
    pub(crate) output: Explanation,
}

/// Simulate a request: print every decision about it, in order, with its reason.
///
/// Nothing is sent: the manifests are translated and compiled as proxies do it, and one request goes through listener, match,
/// policies and the choice of a backend. What needs an answer of somebody else, such as an authorization server, is where it
/// ends.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fairway trace -f examples/quickstart -- GET http://localhost:8080/
  fairway trace -f shop.yaml -- OPTIONS https://shop.example.com/cart -H 'Origin: https://a.example'
  fairway trace -f shop.yaml --service shop/cart:80 -- GET http://cart.shop/")]
pub(crate) struct Trace {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    /// NAMESPACE/NAME:PORT of a Service with a waypoint, which the request is sent to. Default: a Gateway gets it, by the
    /// port of the URL.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// METHOD URL, then any number of -H 'Name: value'.
    #[arg(last = true, required = true, value_name = "REQUEST")]
    pub(crate) request: Vec<String>,
}

/// A form for people, or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Explanation {
    Text,
    Json,
}

/// Run the controller in a Kubernetes cluster.
///
/// Watches Gateway API, runs proxies for each Gateway, configures them and writes status. Several replicas may run: all
/// serve configuration, one writes. Uses the pod's ServiceAccount, or KUBECONFIG outside a cluster. What is leased of global
/// limits is in memory, so that the next leader has to learn it for a minute, or in Redis or Valkey, where it finds it.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fairway controller
  fairway controller --namespace fairway-system --log debug
  KUBECONFIG=admin.kubeconfig fairway controller --advertise https://192.0.2.1:15010")]
pub(crate) struct Controller {
    /// Namespace of the controller: of its Lease and its certificate authority.
    #[arg(long, env = "POD_NAMESPACE", default_value = NAMESPACE, value_name = "NAME")]
    pub(crate) namespace: String,
    /// Its ServiceAccount, which gets the right to read referenced Secrets.
    #[arg(long, env = "POD_SERVICE_ACCOUNT", default_value = "fairway-controller", value_name = "NAME")]
    pub(crate) service_account: String,
    /// Name of this replica.
    #[arg(long, env = "POD_NAME", default_value = "fairway-controller", value_name = "NAME")]
    pub(crate) replica: String,
    /// Service by which proxies reach the controller.
    #[arg(long, default_value = "fairway-controller", value_name = "NAME")]
    pub(crate) service: String,
    /// Where proxies reach the controller, if not at its Service.
    #[arg(long, value_name = "URL")]
    pub(crate) advertise: Option<String>,
    /// Where to serve configuration to proxies.
    #[arg(long, default_value = "[::]:15010", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// Where to serve /livez, /readyz, /metrics and /limits.
    #[arg(long, default_value = "127.0.0.1:15011", value_name = "ADDRESS")]
    pub(crate) admin: SocketAddr,
    /// Image of gateways. Default: that of this release.
    #[arg(long, env = "FAIRWAY_GATEWAY_IMAGE", value_name = "IMAGE")]
    pub(crate) gateway_image: Option<String>,
    /// Image of waypoints. Default: that of this release.
    #[arg(long, env = "FAIRWAY_WAYPOINT_IMAGE", value_name = "IMAGE")]
    pub(crate) waypoint_image: Option<String>,
    /// Trust domain in the names of proxies' certificates.
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    pub(crate) trust_domain: String,
    /// Raise it after the cluster's etcd was restored from a backup: proxies refuse configuration older than theirs.
    #[arg(long, env = "FAIRWAY_EPOCH", default_value_t = 0, value_name = "N")]
    pub(crate) epoch: u64,
    /// How often the certificate authority between controller and proxies is exchanged, an hour at least; `off`: only
    /// when it ends.
    #[arg(long, env = "FAIRWAY_AUTHORITY_PERIOD", default_value = "2160h", value_name = "DURATION", value_parser = period)]
    pub(crate) authority_period: Period,
    #[command(flatten)]
    pub(crate) redis: Redis,
    /// What the process says of itself on standard error: `error`, `warn`, `info`, `debug`, or filters by module.
    #[arg(long, env = "FAIRWAY_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

/// Print the manifests of an installation, for `kubectl apply --server-side -f -`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fairway install | kubectl apply --server-side -f -
  fairway install --crds-only | kubectl apply --server-side -f -
  fairway install --namespace edge --replicas 3")]
pub(crate) struct Install {
    /// Namespace of the controller.
    #[arg(long, default_value = NAMESPACE, value_name = "NAME")]
    pub(crate) namespace: String,
    /// Image of the controller. Default: that of this release.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// Image of gateways. Default: that of this release.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) gateway_image: Option<String>,
    /// Image of waypoints. Default: that of this release.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) waypoint_image: Option<String>,
    /// Without what waypoints need: for Kubernetes older than 1.36.
    #[arg(long)]
    pub(crate) without_waypoints: bool,
    /// How many controllers; one leads.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) replicas: u16,
    /// Only our CRDs.
    #[arg(long, conflicts_with = "skip_crds")]
    pub(crate) crds_only: bool,
    /// No CRDs.
    #[arg(long)]
    pub(crate) skip_crds: bool,
}

/// Which cluster, and which part of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Cluster {
    /// File that says how to reach the cluster. Default: KUBECONFIG, then ~/.kube/config, then the pod's own rights.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of that file. Default: its current one.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace of the controller.
    #[arg(long, global = true, default_value = NAMESPACE, value_name = "NAME")]
    pub(crate) controller_namespace: String,
    /// Only Gateways, routes and policies of this namespace. Default: all.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// Check whether Fairway can run in a cluster, and whether it does.
///
/// Looks at versions, CRDs, rights, the controller, certificates, Gateways and their proxies, routes and policies. Each
/// finding says what to do. Changes nothing, and never looks at private keys.
///
/// Exit code 0: no errors. 1: there are errors (with --strict: or warnings). 2: the cluster cannot be asked.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fairway check --pre                            can it be installed?
  fairway check                                  does it work?
  fairway check --wait 2m                        after an update: until it does
  fairway check -n shop --strict                 one namespace, warnings count
  fairway check -o json | jq '.sections[].lines[] | select(.level != \"ok\")'")]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Before an installation: can it be done?
    #[arg(long, conflicts_with = "namespace")]
    pub(crate) pre: bool,
    /// Check again until there are no errors, for this long at most.
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = duration)]
    pub(crate) wait: Duration,
    /// Warnings count as errors.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Form.
    #[arg(short, long, default_value = "text", value_name = "FORM")]
    pub(crate) output: Explanation,
}

/// Show controllers, Gateways with their proxies, and routes with what is wrong with them.
///
/// Read from the objects of the cluster: what their statuses say is what proxies answered.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fairway status
  fairway status -n shop
  fairway status -A --watch                      again whenever something changes
  fairway status -o json | jq '.routes[] | select(.accepted != \"True\")'")]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// All namespaces, which is the default.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// Look again every two seconds, and print what changed.
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Form.
    #[arg(short, long, default_value = "text", value_name = "FORM")]
    pub(crate) output: Explanation,
}

/// Show global rate limits: used, leased to whom, denied, and what holds where shares are not renewed.
///
/// Asks admin ports: those of proxies say what they decided and by what, that of the controller that leads says who has which
/// share. A standalone process is all of them. Nothing is changed.
///
/// Exit code 0: shown. 1: a proxy has to do without its quota server. 2: somebody cannot be asked.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fairway limits                                 of a standalone process
  fairway limits -o json | jq '.server.limits'
  kubectl -n fairway-system port-forward deploy/fairway-controller 15011 &
  kubectl -n shop port-forward deploy/edge 15000 &
  fairway limits http://127.0.0.1:15011 http://127.0.0.1:15000")]
pub(crate) struct Limits {
    /// Admin ports, of proxies and of controllers.
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:15000")]
    pub(crate) urls: Vec<http::Uri>,
    /// Form.
    #[arg(short, long, default_value = "text", value_name = "FORM")]
    pub(crate) output: Explanation,
}

/// Where the admin port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admin {
    Off,
    At(SocketAddr),
}

fn admin(text: &str) -> Result<Admin, String> {
    match text {
        "off" => Ok(Admin::Off),
        _ => text.parse().map(Admin::At).map_err(|_| "write IP:PORT, such as 127.0.0.1:15000, or off".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<policies::Duration>().map(|duration| duration.0)
}

/// How often something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Period {
    Never,
    Every(Duration),
}

fn period(text: &str) -> Result<Period, String> {
    const LEAST: Duration = Duration::from_secs(3600);
    match text {
        "off" => Ok(Period::Never),
        _ => match duration(text)? {
            period if period < LEAST => Err("an hour, 1h, is the least".to_owned()),
            period => Ok(Period::Every(period)),
        },
    }
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || "write FROM-TO, such as 20000-29999".to_owned();
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong);
    let range = port(from)?..=port(to)?;
    if range.is_empty() { Err(wrong()) } else { Ok(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    /// Help says so, and nobody knows which options are whose.
    #[test]
    fn options_about_the_cluster_stand_before_and_after_what_is_to_be_done() {
        for line in ["fairway waypoint -n shop list", "fairway waypoint list -n shop --context kind"] {
            let args =
                Args::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
            let Command::Waypoint(waypoint) = args.command else { panic!("{line}") };
            assert_eq!(waypoint.cluster.namespace.as_deref(), Some("shop"), "{line}");
        }
    }

    #[test]
    fn port_ranges_are_checked() {
        assert_eq!(ports("20000-20009"), Ok(20000..=20009));
        for wrong in ["", "1", "5-1", "0-5", "a-b", "1-70000"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }
}
