//! A VLAN on one interface without a VLAN device: two programs of a few instructions
//! tag what leaves and untag what arrives.
//!
//! Not every kernel has VLAN devices; every kernel that the lab needs has these hooks.
//! The tags themselves are the kernel's own work.

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    programs::{SchedClassifier, TcAttachType},
};

use crate::{namespace::Namespace, xdp_stub::object_file};

const NAME: &str = "nxdp_lab_vlan";
/// ETH_P_8021Q as the helper wants it: in network order.
const PROTOCOL: u16 = 0x8100_u16.to_be();

/// The attached programs; dropping it detaches them.
#[derive(Debug)]
pub struct VlanStub {
    _programs: [Ebpf; 2],
}

impl VlanStub {
    /// Puts everything that the interface sends and receives into the VLAN `id`.
    ///
    /// # Errors
    /// Fails without CAP_BPF and CAP_NET_ADMIN, or on a kernel older than 6.6.
    pub fn attach(namespace: &Namespace, interface: &str, id: u16) -> Result<Self> {
        // A tag that is left to the device would be in no frame that XDP sees.
        namespace.output("ethtool", &["-K", interface, "txvlan", "off"])?;
        let programs = namespace
            .run(|| {
                anyhow::Ok([
                    attach(interface, TcAttachType::Egress, &push(id))?,
                    attach(interface, TcAttachType::Ingress, &pop())?,
                ])
            })?
            .with_context(|| format!("cannot tag what {interface} sends"));
        Ok(Self {
            _programs: programs?,
        })
    }
}

fn attach(interface: &str, hook: TcAttachType, code: &[u8]) -> Result<Ebpf> {
    let mut ebpf = Ebpf::load(&object_file(NAME, b"classifier", code)?)?;
    let program = ebpf
        .program_mut(NAME)
        .context("the object holds the program")?;
    let classifier: &mut SchedClassifier = program.try_into()?;
    classifier.load()?;
    classifier.attach(interface, hook)?;
    Ok(ebpf)
}

/// `skb_vlan_push(context, PROTOCOL, id); return TCX_NEXT`.
fn push(id: u16) -> Vec<u8> {
    const BPF_FUNC_SKB_VLAN_PUSH: i32 = 18;
    [
        move_immediate(2, i32::from(PROTOCOL)),
        move_immediate(3, i32::from(id)),
        call(BPF_FUNC_SKB_VLAN_PUSH),
        move_immediate(0, TCX_NEXT),
        EXIT,
    ]
    .concat()
}

/// `skb_vlan_pop(context); return TCX_NEXT`.
fn pop() -> Vec<u8> {
    const BPF_FUNC_SKB_VLAN_POP: i32 = 19;
    [
        call(BPF_FUNC_SKB_VLAN_POP),
        move_immediate(0, TCX_NEXT),
        EXIT,
    ]
    .concat()
}

const TCX_NEXT: i32 = -1;

/// RFC 9669 §4.3.
const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

/// RFC 9669 §4.1: `r = immediate`, 64 bits wide.
fn move_immediate(register: u8, immediate: i32) -> [u8; 8] {
    let [a, b, c, d] = immediate.to_le_bytes();
    [0xb7, register, 0, 0, a, b, c, d]
}

/// RFC 9669 §4.3.1: calls a helper by its number.
fn call(helper: i32) -> [u8; 8] {
    let [a, b, c, d] = helper.to_le_bytes();
    [0x85, 0, 0, 0, a, b, c, d]
}
