//! Packets: what the filter makes of each, on the host, in the kernel and before real clients.
#![allow(clippy::unwrap_used)]

mod answers;
mod captures;
mod cases;
mod clients;
mod conformance;
mod differential;
mod flood;
mod forwarder;
mod frames;
mod many_frames;
mod merged;
mod odd;
mod parsers;
mod tag_offload;
mod tcp;
