//! Datagrams: UDPRoute.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::source::Answer;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::harness::{Mesh, Peer, backend, split, stream_listener, stream_route, within};

/// Answers with its name, the number of the client's port as it sees it, and what it heard.
struct Echo {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Echo {
    async fn start(name: &'static str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut bytes = vec![0; 65_535];
            while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
                let mut answer = format!("{name} {} ", from.port()).into_bytes();
                answer.extend(&bytes[..length.min(60_000)]);
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Self { address, task }
    }
}

fn udp_backend(name: &str, addresses: &[SocketAddr]) -> String {
    backend(name, "http", addresses).replace(":80\n", ":80:udp\n")
}

fn udp(port: u16, action: &str) -> String {
    stream_listener("udp", "UDP", port, "") + &stream_route("UdpRoute", "r", "udp", "*", action)
}

fn to(port: u16, addresses: &[SocketAddr]) -> String {
    udp(port, &split(&[("a", 1)])) + &udp_backend("a", addresses)
}

async fn client(address: SocketAddr) -> UdpSocket {
    let any = if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(any).await.unwrap();
    // Only what comes from this address is heard.
    socket.connect(address).await.unwrap();
    socket
}

async fn hear(socket: &UdpSocket) -> String {
    let mut bytes = vec![0; 65_535];
    let length = within(socket.recv(&mut bytes)).await.unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

async fn ask(socket: &UdpSocket, text: &str) -> String {
    socket.send(text.as_bytes()).await.unwrap();
    hear(socket).await
}

fn words(answer: &str) -> Vec<&str> {
    answer.splitn(3, ' ').collect()
}

#[tokio::test]
async fn each_client_has_a_flow_of_its_own_and_hears_its_own_answers() {
    let echo = Echo::start("a").await;
    let mesh = Mesh::start(&to(0, &[echo.address])).await;
    let (one, other) = (client(mesh.address()).await, client(mesh.address()).await);
    let first = ask(&one, "1").await;
    let second = ask(&other, "2").await;
    assert_eq!((words(&first)[2], words(&second)[2]), ("1", "2"));
    assert_ne!(words(&first)[1], words(&second)[1], "two sockets");
    for n in 0..20 {
        let (a, b) = (ask(&one, &format!("a{n}")).await, ask(&other, &format!("b{n}")).await);
        assert_eq!(words(&a), ["a", words(&first)[1], &*format!("a{n}")]);
        assert_eq!(words(&b), ["a", words(&second)[1], &*format!("b{n}")]);
    }
    assert_eq!(words(&ask(&one, "").await)[2], "", "an empty datagram is one too");
    let large = "x".repeat(50_000);
    assert!(words(&ask(&one, &large).await)[2] == large);
}

#[tokio::test]
async fn answers_come_from_the_address_that_was_asked() {
    let echo = Echo::start("a").await;
    let mesh = Mesh::start(&to(0, &[echo.address])).await;
    let port = mesh.address().port();
    for address in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
        let socket = client(format!("{address}:{port}").parse().unwrap()).await;
        assert_eq!(words(&ask(&socket, address).await)[2], address);
    }
    // One client, two of our addresses.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for address in ["127.0.0.2", "127.0.0.3"] {
        let to: SocketAddr = format!("{address}:{port}").parse().unwrap();
        socket.send_to(b"x", to).await.unwrap();
        let (_, from) = within(socket.recv_from(&mut [0; 100])).await.unwrap();
        assert_eq!(from, to);
    }
    if UdpSocket::bind("[::1]:0").await.is_ok() {
        let socket = client(format!("[::1]:{port}").parse().unwrap()).await;
        assert_eq!(words(&ask(&socket, "v6").await)[2], "v6");
    }
}

#[tokio::test]
async fn a_listener_of_one_address_answers_too() {
    let echo = Echo::start("a").await;
    let yaml = to(0, &[echo.address]).replace("port: 0,", "port: 0, address: 127.0.0.1,");
    let mesh = Mesh::start(&yaml).await;
    assert_eq!(words(&ask(&client(mesh.address()).await, "x").await)[2], "x");
}

#[tokio::test]
async fn flows_are_shared_by_weight_and_stay() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let backends = udp_backend("a", &[a.address]) + &udp_backend("b", &[b.address]);
    let mesh = Mesh::start(&(udp(0, &split(&[("a", 3), ("b", 1)])) + &backends)).await;
    let mut of_b = 0;
    for _ in 0..40 {
        let socket = client(mesh.address()).await;
        let first = ask(&socket, "1").await;
        assert_eq!(words(&first)[..2], words(&ask(&socket, "2").await)[..2]);
        of_b += usize::from(first.starts_with('b'));
    }
    assert_eq!(of_b, 10);
}

#[tokio::test]
async fn an_endpoint_that_refuses_gives_way_to_another() {
    let echo = Echo::start("a").await;
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mesh = Mesh::start(&to(0, &[dead, echo.address])).await;
    for _ in 0..4 {
        let socket = client(mesh.address()).await;
        within(async {
            let mut bytes = [0; 100];
            loop {
                socket.send(b"x").await.unwrap();
                if timeout(Duration::from_millis(100), socket.recv(&mut bytes)).await.is_ok() {
                    return;
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_change_leaves_flows_where_they_are() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let mut mesh = Mesh::start(&to(0, &[a.address])).await;
    let old = client(mesh.address()).await;
    let first = ask(&old, "1").await;
    mesh.serve(&to(0, &[b.address])).await;
    assert_eq!(words(&ask(&old, "2").await)[..2], words(&first)[..2]);
    assert_eq!(words(&ask(&client(mesh.address()).await, "3").await)[0], "b");
}

async fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_port_that_goes_still_serves_its_flows_and_goes_on_when_it_comes_back() {
    let echo = Echo::start("a").await;
    let port = free_port().await;
    let yaml = to(port, &[echo.address]);
    let mut mesh = Mesh::start(&yaml).await;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let old = client(address).await;
    let first = ask(&old, "1").await;
    mesh.serve("").await;
    assert_eq!(words(&ask(&old, "2").await)[..2], words(&first)[..2]);
    let new = client(address).await;
    new.send(b"nobody").await.unwrap();
    let heard = timeout(Duration::from_millis(200), new.recv(&mut [0; 100])).await;
    assert!(heard.is_err(), "{heard:?}");
    let answer: Answer = mesh.serve(&yaml).await;
    assert_eq!(answer.rejections, []);
    assert_eq!(words(&ask(&new, "3").await)[2], "3");
    assert_eq!(words(&ask(&old, "4").await)[..2], words(&first)[..2]);
}

#[tokio::test]
async fn a_drain_ends_with_the_last_flow_or_in_time() {
    let echo = Echo::start("a").await;
    let options = fairway_proxy::Options {
        drain: Duration::from_millis(300),
        ..fairway_proxy::Options::new("gateway")
    };
    let mesh = Mesh::with(options, &to(0, &[echo.address])).await;
    let socket = client(mesh.address()).await;
    ask(&socket, "1").await;
    within(mesh.proxy.drain()).await;
    let address = socket.peer_addr().unwrap();
    within(async {
        // The sockets are gone once the workers have dropped them.
        while UdpSocket::bind(("0.0.0.0", address.port())).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_number_is_a_port_for_connections_and_one_for_datagrams() {
    let (echo, peer) = (Echo::start("a").await, Peer::echo("t").await);
    let port = free_port().await;
    let yaml = to(port, &[echo.address])
        + &stream_listener("tcp", "TCP", port, "")
        + &stream_route("TcpRoute", "r", "tcp", "*", &split(&[("a", 1)]))
        + &backend("a", "http", &[peer.address]);
    let mesh = Mesh::start(&yaml).await;
    assert_eq!(mesh.proxy.addresses().len(), 2);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(words(&ask(&client(address).await, "x").await)[2], "x");
    let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut name = [0];
    within(tokio::io::AsyncReadExt::read_exact(&mut tcp, &mut name)).await.unwrap();
    assert_eq!(&name, b"t");
}

#[tokio::test]
async fn a_port_that_another_process_has_is_rejected() {
    let taken = Arc::new(UdpSocket::bind("[::]:0").await.unwrap());
    let mut mesh = Mesh::start("").await;
    let answer = mesh.serve(&to(taken.local_addr().unwrap().port(), &[])).await;
    assert_eq!(answer.rejections.len(), 1, "{answer:?}");
    assert!(answer.rejections[0].message.contains("another process listens there"), "{answer:?}");
}
