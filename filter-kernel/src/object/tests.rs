//! What the compiler made of the program.

use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionKind, SymbolKind,
};

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
    let mut callees = Vec::new();
    for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
        let code = section.data().unwrap();
        for at in local_calls(code) {
            callees.push(callee(&file, &section, at).expect("a call of a function of the program"));
        }
    }
    assert!(callees.iter().any(|name| name == "nxdp_decide"));
    callees.retain(|name| BYTE_LOOPS.contains(&name.as_str()));
    assert!(callees.is_empty(), "{callees:?}");
}

/// Where the instructions are that call functions of the program.
fn local_calls(code: &[u8]) -> Vec<usize> {
    let is_call = |at: &usize| code[*at..*at + 2] == [CALL, PROGRAM_LOCAL << 4];
    let places = (0..code.len()).step_by(INSTRUCTION_BYTES);
    places.filter(is_call).collect()
}

/// The name of the function that the instruction at `at` calls.
///
/// A global function is named by a relocation. One of the object's own is an offset in instructions:
/// from the start of the section that a relocation names, else from this instruction.
fn callee(file: &object::File, section: &object::Section, at: usize) -> Option<String> {
    let instruction = section.data().unwrap()[at..at + INSTRUCTION_BYTES].to_vec();
    let offset = i32::from_le_bytes(instruction[4..].try_into().unwrap());
    let behind = |start: usize| start as i64 + (i64::from(offset) + 1) * INSTRUCTION_BYTES as i64;
    let relocation = section.relocations().find(|(place, _)| *place == at as u64);
    let (index, address) = match relocation.map(|(_, relocation)| relocation.target()) {
        Some(RelocationTarget::Symbol(index)) => {
            let symbol = file.symbol_by_index(index).unwrap();
            if symbol.kind() == SymbolKind::Text {
                return Some(symbol.name().unwrap().to_owned());
            }
            (symbol.section_index()?, behind(0))
        }
        Some(target) => panic!("{target:?}"),
        None => (section.index(), behind(at)),
    };
    let is_it = |symbol: &object::Symbol| {
        symbol.kind() == SymbolKind::Text
            && symbol.section_index() == Some(index)
            && symbol.address() as i64 == address
    };
    let symbol = file.symbols().find(is_it)?;
    Some(symbol.name().unwrap().to_owned())
}
