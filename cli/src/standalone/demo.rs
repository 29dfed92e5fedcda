//! Demo pods: for each Service that asks for them, servers on loopback addresses, and EndpointSlices that say so.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use controller::Object;
use controller::local::{self, DemoService};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::demo::echo;

/// The pods that run.
pub(crate) struct Pods {
    runtime: Handle,
    running: BTreeMap<DemoService, Running>,
    /// Not named by any slice any more; they stop when the proxies know.
    leaving: Vec<Running>,
    addresses: Addresses,
}

struct Running {
    slices: Vec<Object>,
    /// Dropped: the pods stop.
    _stop: watch::Sender<()>,
}

/// Hands out loopback addresses, so that pods look like pods.
struct Addresses(u8);

impl Addresses {
    fn next(&mut self) -> Ipv4Addr {
        self.0 = if self.0 >= 254 { 2 } else { self.0 + 1 };
        Ipv4Addr::new(127, 0, 0, self.0)
    }
}

impl Pods {
    /// None yet. They will run on `runtime`.
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, running: BTreeMap::new(), leaving: Vec::new(), addresses: Addresses(9) }
    }

    /// Starts and retires pods to match the Services, and adds their slices to `objects`.
    pub(crate) fn sync(&mut self, objects: &mut Vec<Object>) -> io::Result<()> {
        let wanted = local::demo_services(objects);
        let gone: Vec<DemoService> =
            self.running.keys().filter(|service| wanted.binary_search(service).is_err()).cloned().collect();
        self.leaving.extend(gone.iter().filter_map(|service| self.running.remove(service)));
        for service in wanted {
            if !self.running.contains_key(&service) {
                let pods = start(&service, &mut self.addresses, &self.runtime)?;
                self.running.insert(service, pods);
            }
        }
        objects.extend(self.running.values().flat_map(|running| running.slices.iter().cloned()));
        Ok(())
    }

    /// The proxies know: pods that are not wanted any more end what they are doing and stop.
    pub(crate) fn settle(&mut self) {
        self.leaving.clear();
    }
}

fn start(service: &DemoService, addresses: &mut Addresses, runtime: &Handle) -> io::Result<Running> {
    let (stop, stopped) = watch::channel(());
    let mut slices = Vec::new();
    for number in 1..=service.pods {
        let pod = Arc::new(echo::Pod {
            name: format!("{}-{number}", service.name),
            service: format!("{}/{}", service.namespace, service.name),
            calls: Vec::new(),
        });
        let ip = addresses.next();
        let (mut bound, mut datagrams) = (Vec::new(), Vec::new());
        for _ in &service.ports {
            let listener = bind(ip)?;
            bound.push(listener.local_addr()?);
            // Registering with the runtime's reactor needs its context.
            let _context = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener)?;
            runtime.spawn(echo::serve(pod.clone(), listener, stopped.clone()));
        }
        for _ in &service.udp_ports {
            let socket = bind_udp(ip)?;
            datagrams.push(socket.local_addr()?);
            let _context = runtime.enter();
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            runtime.spawn(echo::serve_datagrams(pod.clone(), socket, stopped.clone()));
        }
        slices.extend(local::endpoint_slice(service, &pod.name, &bound, &datagrams));
    }
    Ok(Running { slices, _stop: stop })
}

/// Where only 127.0.0.1 is a loopback address (macOS) pods share it and differ by port.
fn bind(ip: Ipv4Addr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(SocketAddr::from((ip, 0)))
        .or_else(|_| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// As [`bind`], for datagrams.
fn bind_udp(ip: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::from((ip, 0)))
        .or_else(|_| UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
