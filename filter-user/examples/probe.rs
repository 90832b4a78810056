#![allow(missing_docs)]
use std::collections::HashMap;
use filter_common::{hash::*, layout::*, name::Name, table, frame::*, filter::*, scratch::*, reason::*};
use filter_user::kernel::*;
fn name_hashes(n: &Name, key: &HashKey) -> Vec<u64> {
    let mut buf = [0u8; LABEL_BUFFER_LEN];
    let w = n.as_wire(); buf[..w.len()].copy_from_slice(w);
    let mut starts = vec![]; let mut at = 0; while w[at] != 0 { starts.push(at); at += 1 + w[at] as usize; }
    let mut h = key.root; let mut out = vec![];
    for &s in starts.iter().rev() { h = label_hash(&buf, s + 1, w[s] as usize, key, h); out.push(h); }
    out
}
fn build(names: &[Name]) -> Vec<Record> {
    let key = HashKey::from_words([0x1234567890abcdef, 0xfedcba0987654321, 0x0f1e2d3c4b5a6979]);
    let mut nodes: HashMap<u64, u16> = HashMap::new();
    for n in names {
        let h = name_hashes(n, &key);
        for (i, &x) in h.iter().enumerate() {
            if i == 0 { continue; }
            let e = nodes.entry(x).or_insert(0);
            if i + 1 == h.len() { *e |= 1 } else { *e |= 2 }
        }
    }
    let nb = (nodes.len() / 6 + 2) as u32;
    let mut b = vec![Record::default(); nb as usize];
    for (&h, &c) in &nodes {
        let f = table::first_bucket(h, nb) as usize;
        let s = table::second_bucket(h, nb) as usize;
        let put = |r: &mut Record| { for w in r.0.iter_mut() { if *w & 0xffff == 0 { let o = *w & (1<<16); *w = table::entry(h, c) | o; return true; } } false };
        if !put(&mut b[f]) { table::mark_overflow(&mut b[f], h); if !put(&mut b[s]) { eprintln!("lost"); } }
    }
    let mut out = vec![];
    let hd = Header { layout: LAYOUT_VERSION, generation: 0, bucket_count: nb, bucket_base: 2, class_base: 2 + nb, text_base: 2 + nb + 4, flags: 0, record_count: 2 + nb + 4 + 2, key, name_count: names.len() as u32, reserved: 0 };
    out.push(Record(bytemuck::cast(hd)));
    out.push(Record(bytemuck::cast(Settings { ttl_s: 60, answer: 1, ede_code: 15, ..bytemuck::Zeroable::zeroed() })));
    out.extend(b);
    let rule = RuleRecord { categories: 1, scope: 3, priority: 1, text: 1, ..Default::default() };
    let rec = |r: RuleRecord| Record(bytemuck::cast(r));
    out.push(Record::default());
    out.push(rec(rule));
    out.push(rec(RuleRecord { flags: RULE_IS_NODE | RULE_HAS_DESCENDANTS, ..Default::default() }));
    out.push(rec(RuleRecord { flags: RULE_HAS_DESCENDANTS, ..rule }));
    out.push(Record::default());
    let mut t = [0u8; 60]; t[..3].copy_from_slice(b"ads");
    out.push(Record(bytemuck::cast(TextRecord { len: 3, bytes: t, reserved: [0; 3] })));
    out
}
fn frame(qname: &str, edns: bool) -> Vec<u8> {
    let n = Name::from_text(qname.as_bytes()).unwrap();
    let mut m = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, edns as u8];
    m.extend(n.as_wire()); m.extend([0, 1, 0, 1]);
    if edns { m.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]); }
    let mut f = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let tl = 28 + m.len() as u16;
    f.extend([0x45, 0]); f.extend(tl.to_be_bytes()); f.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    f.extend([0x30, 0x39, 0, 53]); f.extend((tl - 20).to_be_bytes()); f.extend([0, 0]);
    f.extend(m); f
}
fn main() {
    let n: usize = std::env::args().nth(1).map_or(1_000_000, |x| x.parse().unwrap());
    let text = std::fs::read_to_string("/tmp/names.txt").unwrap();
    let names: Vec<Name> = text.lines().filter_map(|l| Name::from_text(l.as_bytes()).ok()).take(n).collect();
    let img = build(&names);
    let cap = img.len() as u32 * 2 + 100;
    let obj = std::fs::read("target/ebpf/bench.bpf.o").unwrap();
    let main = std::fs::read("target/ebpf/nxdp.bpf.o").unwrap();
    let mut floor = Filter::load_from(&obj, "floor", 4096).unwrap();
    let mut f = Filter::load_from(&main, "nxdp", cap).unwrap();
    println!("verified {:?} names {} recs {}", f.verified_instructions(), names.len(), img.len());
    let t = std::time::Instant::now();
    f.activate(&img).unwrap();
    println!("activate {:?}", t.elapsed());
    let b = names[names.len() / 2].to_string();
    let mut all = vec![Record::default(); 1]; all.extend(img.clone());
    all[0].0[0] = 1;
    let l127 = vec!["a"; 127].join(".");
    let long = format!("{}.{b}", vec!["a".repeat(63); 3].join("."));
    let l19 = format!("{}.com", vec!["abcdef"; 18].join("."));
    let mut nd = vec![0u8; 64]; nd[12] = 8; nd[14] = 0x45; nd[17] = 50; nd[23] = 17; 
    for (what, fr) in [("non_dns", nd), ("clean3", frame("www.cleanexample.com", false)), ("clean3e", frame("www.cleanexample.com", true)), ("blocked", frame(&b, false)), ("blockede", frame(&b, true)), ("sub", frame(&format!("www.{b}"), true)), ("l127", frame(&l127, true)), ("long", frame(&long, true)), ("l19", frame(&l19, true))] {
        let one = f.test_run(&fr, 1).unwrap();
        let mut buf = fr.clone(); buf.resize(4096, 0);
        let mut bf = BufferFrame::new(&mut buf, fr.len());
        let mut s: Box<Scratch> = bytemuck::allocation::zeroed_box();
        let r = filter(&mut bf, &mut Host::new(&all, &mut s));
        let same = bf.bytes() == &one.frame[..];
        let mut best = u64::MAX; let mut bestf = u64::MAX;
        for _ in 0..9 { bestf = bestf.min(floor.test_run(&fr, 1_000_000).unwrap().duration_ns); best = best.min(f.test_run(&fr, 1_000_000).unwrap().duration_ns); }
        println!("{what:10} action {} len {} -> {} host {r:?} same {same} floor {bestf} ns {best} diff {}", one.action, fr.len(), one.frame.len(), best as i64 - bestf as i64);
    }
}
