//! What most tests of roles start with.

use nxdp_lab::{
    lab::{LAN_INTERFACE, Lab},
    responder::Responder,
};

/// A lab with a resolver.
pub(crate) fn lab() -> (Lab, Responder) {
    let lab = Lab::new().unwrap();
    let responder = lab.start_responder().unwrap();
    (lab, responder)
}

/// The program at the interface of the clients, by its number.
pub(crate) fn attached_program(lab: &Lab) -> Option<u64> {
    let text = lab
        .router()
        .output("ip", &["-j", "link", "show", "dev", LAN_INTERFACE]);
    let links: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
    links[0]["xdp"]["prog"]["id"].as_u64()
}
