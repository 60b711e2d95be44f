//! How are sockets set up?

use std::io;

use socket2::{SockRef, Socket, TcpKeepalive};

use crate::setup::Net;

/// What must be set before a TCP socket connects or listens.
pub(crate) fn prepare(socket: &Socket, net: &Net) -> io::Result<()> {
    if net.tcp_rcvbuf > 0 {
        socket.set_recv_buffer_size(net.tcp_rcvbuf)?;
    }
    Ok(())
}

/// What is set on a TCP connection. Nothing of it is worth to fail for.
pub(crate) fn tune<'s, S>(socket: &'s S, net: &Net, is_ipv6: bool)
where
    SockRef<'s>: From<&'s S>,
{
    let socket = SockRef::from(socket);
    let _ = socket.set_tcp_nodelay(net.tcp_nodelay);
    if let Some(after) = net.tcp_keepalive {
        let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(after));
    }
    if let Some(priority) = net.priority {
        // In this order: setting the type of service changes the priority.
        let _ = if is_ipv6 { socket.set_tclass_v6(CS6) } else { socket.set_tos_v4(CS6) };
        #[cfg(target_os = "linux")]
        let _ = socket.set_priority(priority);
        #[cfg(not(target_os = "linux"))]
        let _ = priority;
    }
}

/// The class selector for network control, as a type of service.
const CS6: u32 = 48 << 2;
