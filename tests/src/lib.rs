//! The lab: network namespaces, a responder, a client.
