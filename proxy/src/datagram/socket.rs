//! Sockets of a port: each datagram with the address it was sent to, and answers from there.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;

use super::inbox::Inbox;
use crate::snapshot::Bind;

/// Bytes the kernel may hold for a port until we read them; it takes less where it allows less.
const BUFFER: usize = 2 * 1024 * 1024;

/// One of our addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Local {
    address: IpAddr,
    /// Link-local addresses mean something on one interface only; 0 for others.
    interface: u32,
}

/// A datagram that was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived {
    pub(super) length: usize,
    pub(super) client: SocketAddr,
    /// `None`: the socket has only one address.
    pub(super) local: Option<Local>,
}

/// A worker's socket of a port.
#[derive(Debug)]
pub(super) struct PortSocket {
    socket: tokio::net::UdpSocket,
    /// It is bound to all addresses, so that each datagram says to which it was sent.
    is_told: bool,
}

/// Binds `count` sockets that share a port, or fewer when the system wants it so; at least one.
///
/// # Errors
/// When the port cannot be bound; also when another process has it, whatever it allows.
pub(super) fn bind(bind: Bind, count: usize) -> io::Result<Vec<UdpSocket>> {
    let first = match bind.address {
        Some(address) => bind_one(SocketAddr::new(address, bind.port), false)?,
        // Both families through one socket; a host without IPv6 has only the other.
        None => {
            let all = |address: IpAddr| bind_one(SocketAddr::new(address, bind.port), false);
            all(Ipv6Addr::UNSPECIFIED.into()).or_else(|error| {
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) {
                    return Err(error);
                }
                all(Ipv4Addr::UNSPECIFIED.into())
            })?
        }
    };
    let address = first.local_addr()?;
    // Only now: a port of somebody else would be shared without a word, too.
    socket2::SockRef::from(&first).set_reuse_port(true)?;
    let mut sockets = vec![first];
    for _ in 1..count {
        match bind_one(address, true) {
            Ok(socket) => sockets.push(socket),
            Err(error) => {
                tracing::warn!(%address, %error, "one worker less for this UDP port");
                break;
            }
        }
    }
    Ok(sockets)
}

fn bind_one(address: SocketAddr, is_shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    let _ = socket.set_recv_buffer_size(BUFFER);
    if is_shared {
        socket.set_reuse_port(true)?;
    }
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
        // IPv4 datagrams come with a mapped address.
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
    } else if address.ip().is_unspecified() {
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

impl PortSocket {
    /// To be called on the worker's runtime.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let is_told = socket.local_addr()?.ip().is_unspecified();
        Ok(Self { socket: tokio::net::UdpSocket::from_std(socket)?, is_told })
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Reads a datagram, if there is one.
    pub(super) fn try_receive(&self, inbox: &mut Inbox) -> io::Result<Arrived> {
        if !self.is_told {
            let (length, client) = self.socket.try_recv_from(&mut inbox.bytes)?;
            return Ok(Arrived { length, client, local: None });
        }
        self.socket.try_io(Interest::READABLE, || {
            let Inbox { bytes, control } = inbox;
            let mut into = [IoSliceMut::new(bytes)];
            let fd = self.socket.as_raw_fd();
            let message =
                recvmsg::<SockaddrStorage>(fd, &mut into, Some(control.as_mut_slice()), MsgFlags::empty())?;
            let client = message.address.as_ref().and_then(client).ok_or(io::ErrorKind::InvalidData)?;
            let local = message.cmsgs()?.find_map(|control| local(&control));
            Ok(Arrived { length: message.bytes, client, local })
        })
    }

    /// Sends a datagram to a client. What the kernel has no room for now is an error, and lost.
    pub(super) fn try_send(&self, bytes: &[u8], client: SocketAddr, from: Option<Local>) -> io::Result<()> {
        let Some(from) = from else { return self.socket.try_send_to(bytes, client).map(drop) };
        let to = SockaddrStorage::from(client);
        let bytes = [IoSlice::new(bytes)];
        self.socket.try_io(Interest::WRITABLE, || {
            let fd = self.socket.as_raw_fd();
            let send = |control| sendmsg(fd, &bytes, &[control], MsgFlags::empty(), Some(&to));
            match from.address {
                IpAddr::V4(address) => {
                    let address = in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
                    let any = in_addr { s_addr: 0 };
                    let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: any };
                    send(ControlMessage::Ipv4PacketInfo(&info))?;
                }
                IpAddr::V6(address) => {
                    let address = in6_addr { s6_addr: address.octets() };
                    let info = in6_pktinfo { ipi6_addr: address, ipi6_ifindex: from.interface };
                    send(ControlMessage::Ipv6PacketInfo(&info))?;
                }
            }
            Ok(())
        })
    }
}

fn client(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || address.as_sockaddr_in().map(|v4| SocketAddrV4::from(*v4).into());
    v4().or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into()))
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the system may tell more than was asked")]
fn local(control: &ControlMessageOwned) -> Option<Local> {
    match control {
        // Where it was received, which for a broadcast is not where it was sent to.
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into();
            Some(Local { address, interface: 0 })
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let interface = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some(Local { address: address.into(), interface })
        }
        _ => None,
    }
}
