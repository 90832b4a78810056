//! The library behind the binary `nxdp`.
