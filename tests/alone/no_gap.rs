//! Whatever happens to its processes, the filter filters: no query is lost, none is answered wrongly.
//!
//! A default run kills at some of the steps, a long one at every step.
//!
//! Each event happens while a client asks without a pause, for names that are blocked all the
//! time and for others that never are. The table of what came of it is printed.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    thread,
    time::{Duration, Instant},
};

use hickory_proto::op::ResponseCode;
use nix::sys::signal::Signal;
use nxdp_lab::{
    guest::{GUEST_INTERFACE, Guest},
    kill_at_syscall::{Call, End, kill_when},
    lab::LAN_INTERFACE,
    length::short_or_long,
    process::Stream,
    show::{SENT_LEAST, SOON, Show, lab, list_of},
};

#[test]
fn nothing_slips_through_when_the_daemon_ends_at_any_point() {
    let (lab, _responder) = lab();
    let mut show = Show::start(&lab, "");
    show.event("daemon ended and started", |show| {
        show.end_daemon(Signal::SIGTERM);
        show.start_daemon();
    });
    show.event("daemon killed at rest", |show| {
        show.end_daemon(Signal::SIGKILL);
        thread::sleep(Duration::from_millis(200));
        show.start_daemon();
        show.swap();
    });
    show.event("daemon hung for a second", |show| {
        let daemon = show.daemon.as_ref().unwrap();
        daemon.signal(Signal::SIGSTOP).unwrap();
        thread::sleep(Duration::from_secs(1));
        daemon.signal(Signal::SIGCONT).unwrap();
    });
    show.event(
        "daemon killed in the middle of reading a list",
        kill_while_reading,
    );
    show.event(
        "daemon killed at moments from SIGHUP to the swap",
        kill_over_time,
    );
    show.event("daemon killed at steps of a swap", kill_at_swap_steps);
    show.event("swap after all that", Show::swap);
    show.conclude();
}

/// The list is a pipe: the daemon is in the middle of it for as long as the test wants.
fn kill_while_reading(show: &mut Show<'_>) {
    let list = show.roles.list();
    let pipe = show.roles.path("list.new");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    fs::rename(&pipe, &list).unwrap();
    show.hang_up();
    // Returns when the daemon has opened the other end.
    let mut input = OpenOptions::new().write(true).open(&list).unwrap();
    // More than a pipe holds: the daemon has read a part when this returns.
    let text = list_of(1000);
    input.write_all(&text.as_bytes()[..text.len() / 2]).unwrap();
    let generation = show.generation();
    show.end_daemon(Signal::SIGKILL);
    drop(input);
    show.change_list();
    show.start_daemon();
    assert_eq!(show.generation(), generation + 1);
}

fn kill_over_time(show: &mut Show<'_>) {
    let moments = short_or_long(5, 20);
    let start = Instant::now();
    show.swap();
    let whole = start.elapsed();
    for moment in 0..moments {
        show.change_list();
        show.hang_up();
        thread::sleep(whole * moment / moments);
        show.end_daemon(Signal::SIGKILL);
        show.start_daemon();
        show.wait_for_list();
    }
}

/// Its main thread does the swap: it locks, maps, copies, maps again, tests, switches and waits.
fn kill_at_swap_steps(show: &mut Show<'_>) {
    let mut is_over = false;
    let mut kills = 0;
    while !is_over {
        show.change_list();
        show.hang_up();
        let (mut steps, mut is_swapping, mut is_switched) = (0, false, false);
        let daemon = show.daemon.take().unwrap();
        let end = kill_when(&daemon, |call| {
            // Locking the pins comes first, letting go of the memory after the switch comes last.
            is_swapping |= call == Call::Lock;
            if !is_swapping || !matches!(call, Call::Lock | Call::Memory | Call::Barrier) {
                return false;
            }
            is_over = is_switched;
            is_switched |= call == Call::Barrier;
            steps += 1;
            is_over || steps > kills
        });
        assert!(matches!(end.unwrap(), End::Killed(_)));
        drop(daemon);
        kills += short_or_long(3, 1);
        show.start_daemon();
        show.wait_for_list();
    }
    assert!(kills >= 6, "{kills} steps of a swap");
}

#[test]
fn nothing_slips_through_when_the_filter_is_loaded_anew() {
    let (lab, _responder) = lab();
    let mut show = Show::start(&lab, "");
    show.event("nxdp load over the same", |show| {
        show.roles.load(&[]).unwrap();
        show.swap();
    });
    show.event("nxdp load with a larger table", |show| {
        let before = show.roles.status().unwrap()["table_bytes"].as_u64();
        show.roles.load(&["--names", "400000"]).unwrap();
        show.swap();
        assert!(show.roles.status().unwrap()["table_bytes"].as_u64() > before);
    });
    show.event(
        "nxdp load while the daemon swaps, again and again",
        |show| {
            for _ in 0..short_or_long(3, 10) {
                show.change_list();
                show.hang_up();
                show.roles.load(&[]).unwrap();
                show.wait_for_list();
            }
        },
    );
    show.event("upgrade over another layout", upgrade);
    show.event("nxdp load killed at its steps", kill_at_load_steps);
    show.event("upgrade over another layout, killed at its steps", |show| {
        make_it_old(show);
        kill_at_load_steps(show);
    });
    show.event("swap after all that", Show::swap);
    show.conclude();
}

/// What is loaded seems to be of an older layout.
fn make_it_old(show: &Show<'_>) {
    let set = |layout: u32| show.roles.pins().join(format!("v{layout}"));
    let layout = filter_common::layout::LAYOUT_VERSION;
    fs::rename(set(layout), set(layout - 1)).unwrap();
}

/// The maps of another layout cannot be gone on with; the last image can.
fn upgrade(show: &mut Show<'_>) {
    let answered = |show: &Show<'_>| {
        let stats = show.roles.ask("stats").unwrap();
        stats["packets"]["answer_nxdomain"].as_u64().unwrap()
    };
    show.end_daemon(Signal::SIGTERM);
    make_it_old(show);
    let text = show.roles.load(&[]).unwrap();
    assert!(text.contains("over new maps"), "{text}");
    assert!(
        show.roles
            .pinned()
            .iter()
            .all(|pin| !pin.starts_with("v1/"))
    );
    show.start_daemon();
    assert!(answered(show) > SENT_LEAST, "the counts go on");
    show.swap();
}

/// Each load finds what the killed one before it left.
fn kill_at_load_steps(show: &mut Show<'_>) {
    let mut number = 0;
    loop {
        let load = show.roles.stopped_load(&[]).unwrap();
        let (mut steps, mut is_pinning) = (0, false);
        let end = kill_when(&load, |call| {
            // What comes before the first change of a name leaves no trace.
            is_pinning |= call == Call::Lock;
            if !is_pinning || matches!(call, Call::Memory) {
                return false;
            }
            steps += 1;
            steps > number
        });
        match end.unwrap() {
            End::Killed(call) => number += stride(call),
            End::Exited(code) => {
                assert_eq!(code, 0, "{}", load.text(Stream::Err));
                break;
            }
        }
        drop(load);
    }
    assert!(number >= 40, "{number} steps of a load");
    show.swap();
}

/// Maps change hands one like the other: some of them will do.
fn stride(call: Call) -> usize {
    match call {
        Call::Give | Call::BpfMake => short_or_long(15, 5),
        _ => short_or_long(4, 1),
    }
}

#[test]
fn nothing_slips_through_when_the_surroundings_fail() {
    let (lab, _responder) = lab();
    let mut show = Show::start(&lab, "");
    show.event("a list is gone and comes back", |show| {
        fs::remove_file(show.roles.list()).unwrap();
        show.hang_up();
        let failed = |status: &serde_json::Value| status["last_error"].is_string();
        show.roles.wait_for_status("the failure", failed).unwrap();
        show.swap();
    });
    show.event("disk full", disk_full);
    show.event("clock at 1970 when the daemon starts", |show| {
        show.end_daemon(Signal::SIGTERM);
        let clock = [
            "LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1",
            "FAKETIME=@1970-01-01 00:00:10",
        ];
        let command = show.roles.daemon_command(&[], &clock);
        let daemon = show.lab.router().spawn(command).unwrap();
        daemon.wait_for_line(0, " active: ", SOON).unwrap();
        let maps = fs::read_to_string(format!("/proc/{}/maps", daemon.id())).unwrap();
        assert!(maps.contains("libfaketime"), "the clock is the real one");
        show.daemon = Some(daemon);
        show.swap();
    });
    let guest = Guest::new(&lab).unwrap();
    let mut keeper = lab
        .router()
        .spawn(show.roles.command(
            "attach",
            &["-i", LAN_INTERFACE, "-i", GUEST_INTERFACE, "--watch"],
        ))
        .unwrap();
    show.event("another interface deleted and added anew", |_| {
        for _ in 0..short_or_long(2, 5) {
            guest.replug().unwrap();
            asks_in_vain(&guest);
        }
    });
    show.event("keeper killed", |_| {
        keeper.end(Signal::SIGKILL, SOON).unwrap();
        asks_in_vain(&guest);
    });
    show.conclude();
}

/// The guest's first answer says that the name is blocked.
fn asks_in_vain(guest: &Guest<'_>) {
    let answer = guest.first_answer("n0.list.nxdp-show.example").unwrap();
    assert_eq!(answer, ResponseCode::NXDomain);
}

/// The state is on a file system that is full.
fn disk_full(show: &mut Show<'_>) {
    show.end_daemon(Signal::SIGTERM);
    let state = show.roles.state();
    let path = state.to_str().unwrap();
    let options = ["-t", "tmpfs", "-o", "size=64k,mode=777", "none", path];
    show.lab.router().output("mount", &options).unwrap();
    // Its socket is on the full file system too, where this process does not see it.
    let folder = show.roles.path("run");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let socket = folder.join("control.sock");
    let daemon = show
        .roles
        .spawn_daemon(&["--socket", socket.to_str().unwrap()]);
    let daemon = daemon.unwrap();
    daemon
        .wait_for_line(0, "No space left on device", SOON)
        .unwrap();
    show.daemon = Some(daemon);
    show.swap();
    show.end_daemon(Signal::SIGTERM);
    show.lab.router().output("umount", &[path]).unwrap();
    show.start_daemon();
}
