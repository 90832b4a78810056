//! What the running filter tells: counters, query log, metrics, `nxdp top`, the control socket.
#![allow(clippy::unwrap_used)]

mod control_socket;
mod observe;
mod observe_roles;
mod top;
