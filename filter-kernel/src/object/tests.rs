//! What the compiler made of the program.

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionKind};

use super::bytes;

/// What LLVM calls where it does not copy, fill or compare in place: loops over single bytes.
const BYTE_LOOPS: [&str; 5] = ["bcmp", "memcmp", "memcpy", "memmove", "memset"];

/// `BPF_JMP | BPF_CALL` (RFC 9669 §4.3).
const CALL: u8 = 0x85;
/// The source register of a call to a function of the program (RFC 9669 §4.3.1).
const PROGRAM_LOCAL: u8 = 1;
/// Bytes of an instruction.
const INSTRUCTION_BYTES: usize = 8;

/// `xtask/src/build.rs` has the linker's option that sees to it.
#[test]
fn no_packet_pays_for_a_call_that_copies_bytes() {
    let file = object::File::parse(bytes().expect("an eBPF object in this build")).unwrap();
    let (mut callees, mut calls) = (Vec::new(), 0);
    for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
        calls += local_calls(section.data().unwrap());
        for (_, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else {
                panic!("{relocation:?}");
            };
            let symbol = file.symbol_by_index(index).unwrap();
            if symbol.kind() == object::SymbolKind::Text {
                callees.push(symbol.name().unwrap().to_owned());
            }
        }
    }
    assert!(callees.iter().any(|name| name == "nxdp_decide"));
    // A call without a symbol would have been overlooked.
    assert_eq!(callees.len(), calls, "{callees:?}");
    callees.retain(|name| BYTE_LOOPS.contains(&name.as_str()));
    assert!(callees.is_empty(), "{callees:?}");
}

fn local_calls(code: &[u8]) -> usize {
    let is_call = |instruction: &&[u8]| instruction[..2] == [CALL, PROGRAM_LOCAL << 4];
    code.chunks_exact(INSTRUCTION_BYTES).filter(is_call).count()
}
