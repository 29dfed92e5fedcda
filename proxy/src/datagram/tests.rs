use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use config::{Resources, Update, decode_documents};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::post::{Post, Shared};
use super::socket::{self, PortSocket};
use crate::compile::Compiler;
use crate::rule::RuleName;
use crate::snapshot::{Bind, Transport};
use crate::telemetry::Telemetry;

/// One worker's part of a port, and a backend that answers with the port it was asked from.
struct World {
    address: SocketAddr,
    shared: Arc<Shared>,
    telemetry: Arc<Telemetry>,
    _draining: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

async fn world(idle: Duration, most: usize) -> World {
    let mut tasks = JoinSet::new();
    let echo = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    let backend = echo.local_addr().expect("bound");
    tasks.spawn(async move {
        while let Ok((_, from)) = echo.recv_from(&mut [0; 100]).await {
            let _ = echo.send_to(from.port().to_string().as_bytes(), from).await;
        }
    });
    let yaml = format!(
        "key: Listener/ns/g/l\nresource: {{kind: Listener, port: 0, address: 127.0.0.1, protocol: UDP, scope: gateway}}\n\
         ---\nkey: Backend/ns/b:1:udp\nresource: {{kind: Backend}}\n\
         ---\nkey: Endpoints/ns/b:1:udp\nresource: {{kind: Endpoints, endpoints: [{{address: \"{backend}\"}}]}}\n\
         ---\nkey: UdpRoute/ns/r\nresource: {{kind: UdpRoute, parents: [{{listener: {{namespace: ns, gateway: g, section: l, \
         hostnames: [\"*\"]}}}}], action: {{forward: [{{target: {{backend: {{namespace: ns, name: b, port: 1}}}}, weight: \
         1}}]}}}}\n"
    );
    let telemetry = Arc::new(Telemetry::default());
    let (writer, reader) = crate::snapshot::pair();
    let resources = decode_documents(&yaml).expect("readable");
    let update = Update::between(1, &Resources::new(), &resources);
    let (snapshot, rejections) = Compiler::new(telemetry.clone()).apply(update);
    assert_eq!(rejections, []);
    writer.publish(snapshot);
    let bind = Bind { transport: Transport::Udp, address: Some([127, 0, 0, 1].into()), port: 0 };
    let bound = socket::bind(bind, 1).expect("bound").remove(0);
    let address = bound.local_addr().expect("bound");
    let (open, empty) = (AtomicUsize::new(0), Notify::new());
    let (stats, told) = (telemetry.listener("udp"), telemetry.clone());
    let shared = Arc::new(Shared { bind, reader, telemetry: told, stats, idle, open, empty });
    let (draining, drains) = watch::channel(false);
    tasks.spawn(Post::new(shared.clone(), PortSocket::new(bound).expect("a runtime"), most, drains).run());
    World { address, shared, telemetry, _draining: draining, _tasks: tasks }
}

impl World {
    async fn client(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        socket.connect(self.address).await.expect("connected");
        socket
    }

    /// How many flows have ended so, once there is one.
    async fn ended(&self, reason: &str) -> u64 {
        let name = RuleName { kind: "UDPRoute", route: "ns/r".into(), rule: "0".into() };
        let stats = self.telemetry.stream(&name);
        let count = || {
            let rows = stats.reasons().rows();
            rows.filter(|(row, _)| format!("{row:?}").contains(reason)).map(|(_, count)| count).sum::<u64>()
        };
        let some = async {
            while count() == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(Duration::from_secs(20), some).await.expect("a flow that ended");
        count()
    }
}

/// The port that the backend was asked from.
async fn ask(client: &UdpSocket) -> String {
    client.send(b"?").await.expect("sent");
    let mut answer = [0; 100];
    let heard = timeout(Duration::from_secs(20), client.recv(&mut answer)).await;
    let length = heard.expect("an answer").expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn a_flow_that_is_quiet_ends_and_its_client_can_begin_another() {
    let world = world(Duration::from_millis(100), 10).await;
    let client = world.client().await;
    ask(&client).await;
    assert_eq!(world.ended("ok").await, 1);
    assert_eq!(world.shared.open.load(Ordering::Acquire), 0);
    ask(&client).await;
    assert_eq!(world.shared.open.load(Ordering::Acquire), 1);
}

#[tokio::test]
async fn the_flow_that_was_quiet_for_longest_makes_room() {
    let world = world(Duration::from_secs(600), 2).await;
    let [one, two, three] = [world.client().await, world.client().await, world.client().await];
    let (first, second) = (ask(&one).await, ask(&two).await);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(ask(&one).await, first);
    ask(&three).await;
    assert_eq!(world.ended("session_evicted").await, 1);
    assert_eq!(ask(&one).await, first);
    assert_ne!(ask(&two).await, second, "it began anew, and another one made room");
    assert_eq!(world.ended("session_evicted").await, 2);
}
