//! XDP programs of two instructions, for the ends of veth pairs.
//!
//! What a program on one end of a pair sends back (XDP_TX) is put into a ring of the
//! other end. The kernel empties that ring at once only when the other end has an
//! XDP program too; with generic receive offload alone the frame waits there for
//! other traffic to come by.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    programs::{Xdp, XdpMode, loaded_programs},
};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, Symbol, SymbolSection},
};

use crate::namespace::Namespace;

const NAME: &str = "nxdp_lab_stub";

/// What a stub does with every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StubAction {
    /// Hands it to the kernel.
    Pass,
    /// Sends it back where it came from, as it is.
    SendBack,
}

/// How long a dropped stub waits for the kernel to let go of its program.
const GRACE: Duration = Duration::from_secs(2);

/// An attached program; dropping it detaches it and waits until it is gone.
///
/// Closing its descriptors alone is not enough: a child that another test forks in
/// this process meanwhile holds copies of them until it executes its program.
#[derive(Debug)]
pub struct XdpStub {
    ebpf: Option<Ebpf>,
    program_id: u32,
}

impl XdpStub {
    /// Loads and attaches a program.
    ///
    /// # Errors
    /// Fails without CAP_BPF and CAP_NET_ADMIN, or when a program is attached already.
    pub fn attach(
        namespace: &Namespace,
        interface: &str,
        action: StubAction,
        mode: XdpMode,
    ) -> Result<Self> {
        let (ebpf, program_id) = namespace
            .run(|| load_and_attach(interface, action, mode))?
            .with_context(|| {
                format!(
                    "cannot attach a stub to {interface} in {}",
                    namespace.name()
                )
            })?;
        Ok(Self {
            ebpf: Some(ebpf),
            program_id,
        })
    }
}

impl Drop for XdpStub {
    fn drop(&mut self) {
        drop(self.ebpf.take());
        let end = Instant::now() + GRACE;
        while is_loaded(self.program_id) && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn is_loaded(program_id: u32) -> bool {
    let mut programs = loaded_programs().flatten();
    programs.any(|program| program.id() == program_id)
}

fn load_and_attach(interface: &str, action: StubAction, mode: XdpMode) -> Result<(Ebpf, u32)> {
    let mut ebpf = Ebpf::load(&object_file(NAME, b"xdp", &instructions(action))?)?;
    let program = ebpf
        .program_mut(NAME)
        .context("the object holds the program")?;
    let xdp: &mut Xdp = program.try_into()?;
    xdp.load()?;
    let program_id = xdp.info()?.id();
    xdp.attach(interface, mode)?;
    Ok((ebpf, program_id))
}

/// An ELF object with one program, whose section tells its type.
pub(crate) fn object_file(name: &str, section: &[u8], code: &[u8]) -> Result<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let license = object.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    object.append_section_data(license, b"Dual MIT/GPL\0", 1);
    let section = object.add_section(Vec::new(), section.to_vec(), SectionKind::Text);
    object.append_section_data(section, code, 8);
    object.add_symbol(Symbol {
        name: name.into(),
        value: 0,
        size: code.len() as u64,
        kind: SymbolKind::Text,
        scope: SymbolScope::Linkage,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    });
    Ok(object.write()?)
}

/// `r0 = ACTION; exit` (RFC 9669 §4.1 and §4.3).
fn instructions(action: StubAction) -> [u8; 16] {
    let code = match action {
        StubAction::Pass => xdp_action::XDP_PASS,
        StubAction::SendBack => xdp_action::XDP_TX,
    };
    [0xb7, 0, 0, 0, code, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]
}

/// The kernel's `enum xdp_action`, as immediate operands.
mod xdp_action {
    pub(super) const XDP_PASS: u8 = 2;
    pub(super) const XDP_TX: u8 = 3;
}
