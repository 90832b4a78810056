//! Finds the eBPF object that the library embeds (temporary).
fn main() { println!("cargo:rustc-env=NXDP_BPF_OBJECT={}", concat!(env!("CARGO_MANIFEST_DIR"), "/../target/ebpf/nxdp.bpf.o")); println!("cargo:rerun-if-changed=../target/ebpf/nxdp.bpf.o"); }
