use filter_user::kernel::*;
fn main() {
    let mut f = match Filter::load(1024) { Ok(f) => f, Err(e) => { let mut s: Option<&dyn std::error::Error> = Some(&e); while let Some(x) = s { eprintln!("{x}"); s = x.source(); } std::process::exit(1) } };
    println!("verified {:?}", f.verified_instructions());
    let r = f.test_run(&[0u8; 64], 1000).unwrap();
    println!("{r:?}");
}
