//! Whatever happens while lists are fetched, the filter filters with those that it has.
//!
//! The names that are asked for are in a list from a server, which another list comes after.

use std::{fmt::Write as _, fs, net::SocketAddr, thread, time::Duration};

use nix::sys::signal::Signal;
use nxdp_lab::{
    kill_at_thread_syscall::{Syscall, kill_before},
    length::short_or_long,
    list_server::{Identity, ListServer, Reply},
    process::Stream,
    roles::wait_for,
    show::{SOON, Show, lab},
};

const SERVER: ([u8; 4], u16) = ([127, 0, 0, 1], 4443);
/// Names that every fetched list has.
const NAMES: u32 = 2000;
/// Of deeds that are many and alike, one in so many is a step.
const STRIDE: usize = 16;

/// Where lists come from, and what they are.
struct Source {
    identity: Identity,
    server: Option<ListServer>,
    serial: u32,
}

impl Source {
    fn new() -> Self {
        Self {
            identity: Identity::of(&["127.0.0.1"]).unwrap(),
            server: None,
            serial: 0,
        }
    }

    fn open(&mut self, show: &Show<'_>) {
        let start = || ListServer::start(SocketAddr::from(SERVER), Some(&self.identity));
        let server = show.lab.router().run(start).unwrap().unwrap();
        self.server = Some(server);
    }

    fn close(&mut self) {
        self.server = None;
    }

    fn say(&self, reply: impl Fn() -> Reply + Send + 'static) {
        self.server.as_ref().unwrap().say(move |_| reply());
    }

    /// Has a list that nobody has seen.
    fn renew(&mut self) -> String {
        self.serial += 1;
        let text = list_of(self.serial);
        let same = text.clone();
        self.say(move || Reply::ok(&text));
        same
    }

    /// Has the daemon fetch a new list, and waits until it is in force.
    fn fetch(&mut self, show: &Show<'_>) {
        self.renew();
        show.roles.say("update").unwrap();
        show.wait_until_blocked(&format!("fetched{}.nxdp-show.example", self.serial));
    }
}

fn list_of(serial: u32) -> String {
    let mut text = format!("||fetched{serial}.nxdp-show.example^\n");
    for number in 0..NAMES {
        writeln!(text, "||f{number}.fetched.nxdp-show.example^").unwrap();
    }
    text
}

#[test]
fn nothing_slips_through_while_lists_are_fetched() {
    let (lab, _responder) = lab();
    let config = format!(
        "[[list]]\nurl = \"https://127.0.0.1:{}/ads.txt\"\n\
         [fetch]\ncache = \"state/lists\"\nca_file = \"ca.pem\"\nallow_private = [\"127.0.0.1/32\"]\n",
        SERVER.1
    );
    let mut show = Show::start(&lab, &config);
    let mut source = Source::new();
    fs::write(show.roles.path("ca.pem"), source.identity.pem()).unwrap();
    source.open(&show);
    source.fetch(&show);
    let names = (0..NAMES).map(|number| format!("www.f{number}.fetched.nxdp-show.example"));
    show.blocked.extend(names);

    show.event("list server down", |show| {
        source.close();
        let error = show.roles.say("update").unwrap_err().to_string();
        assert!(error.contains("Connection refused"), "{error}");
    });
    show.event("list server down when the daemon starts", |show| {
        show.end_daemon(Signal::SIGTERM);
        show.start_daemon();
        let error = show.roles.say("update").unwrap_err().to_string();
        assert!(error.contains("Connection refused"), "{error}");
        source.open(show);
        source.fetch(show);
    });
    show.event("clock at 1970 while lists are fetched", |show| {
        clock_at_1970(show, &mut source);
    });
    show.event("daemon killed in the middle of fetching a list", |show| {
        kill_while_fetching(show, &mut source);
    });
    show.event("daemon killed at steps from fetch to disk", |show| {
        kill_at_steps(show, &mut source);
    });
    show.event("fetch and swap after all that", |show| {
        source.fetch(show);
        show.swap();
    });
    show.conclude();
}

/// No certificate is valid yet: the copy stays, and the reason is told.
fn clock_at_1970(show: &mut Show<'_>, source: &mut Source) {
    show.end_daemon(Signal::SIGTERM);
    let clock = [
        "LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1",
        "FAKETIME=@1970-01-01 00:00:10",
    ];
    let command = show.roles.daemon_command(&[], &clock);
    let daemon = show.lab.router().spawn(command).unwrap();
    daemon.wait_for_line(0, " active: ", SOON).unwrap();
    show.daemon = Some(daemon);
    source.renew();
    let error = show.roles.say("update").unwrap_err().to_string();
    assert!(
        error.contains("is the clock of this machine right?"),
        "{error}"
    );
    show.end_daemon(Signal::SIGTERM);
    show.start_daemon();
    source.fetch(show);
}

/// What it had of the list is swept up by the next one.
fn kill_while_fetching(show: &mut Show<'_>, source: &mut Source) {
    let text = source.renew();
    source.say(move || Reply::ok(&text).dripping(Duration::from_millis(1)));
    let _update = show.lab.router().spawn(update(show)).unwrap();
    let cache = show.roles.state().join("lists");
    let is_begun = || {
        let mut files = fs::read_dir(&cache)?.flatten();
        Ok(files.any(|file| file.file_name().to_string_lossy().starts_with(".fetch-")))
    };
    wait_for("the beginning", is_begun).unwrap();
    show.end_daemon(Signal::SIGKILL);
    assert!(is_begun().unwrap(), "it was in the middle");
    show.start_daemon();
    wait_for("the end of the rest", || Ok(!is_begun()?)).unwrap();
    source.fetch(show);
}

fn update(show: &Show<'_>) -> std::process::Command {
    let socket = show.roles.socket();
    show.roles
        .command("update", &["--socket", socket.to_str().unwrap()])
}

/// What it must have been killed before, at least.
const KINDS: [fn(&Syscall) -> bool; 5] = [
    |deed| matches!(deed, Syscall::Connect),
    |deed| matches!(deed, Syscall::Create(name) if name.contains("/.fetch-")),
    |deed| matches!(deed, Syscall::Sync(name) if name.contains("/.fetch-")),
    |deed| matches!(deed, Syscall::Rename(name) if name.ends_with(".zst")),
    is_last,
];

/// The image that is in force is on the disk: that is the last of all.
fn is_last(deed: &Syscall) -> bool {
    matches!(deed, Syscall::Rename(name) if name.ends_with("last.image"))
}

/// Each time it is killed a step later: asking, writing the copy, compiling, swapping, keeping.
fn kill_at_steps(show: &mut Show<'_>, source: &mut Source) {
    let (mut number, mut is_over, mut ends) = (0, false, Vec::new());
    while !is_over {
        let (mut deeds, mut alike, mut is_fetching) = (0, 0, false);
        ends.push(kill_in_update(show, source, |deed| {
            is_fetching |= *deed == Syscall::Connect;
            let is_alike = matches!(deed, Syscall::Read(_) | Syscall::Send | Syscall::Thread);
            alike += usize::from(is_fetching && is_alike);
            deeds += usize::from(is_fetching && (!is_alike || alike % STRIDE == 1));
            is_over = is_fetching && is_last(deed);
            is_over || deeds > number
        }));
        number += short_or_long(5, 1);
    }
    // On a busy machine the steps of one time are not those of the next.
    for kind in KINDS {
        if !ends.iter().any(kind) {
            ends.push(kill_in_update(show, source, kind));
        }
    }
    eprintln!("killed before: {ends:#?}");
    source.fetch(show);
}

/// Kills the daemon while it updates its list, when `kill_now` says so, and starts the next one.
fn kill_in_update(
    show: &mut Show<'_>,
    source: &mut Source,
    kill_now: impl FnMut(&Syscall) -> bool,
) -> Syscall {
    // The image of the daemon's start is on the disk before the one that counts.
    thread::sleep(Duration::from_secs(2));
    source.renew();
    let daemon = show.daemon.take().unwrap();
    daemon.stop(SOON).unwrap();
    let update = show.lab.router().spawn(update(show)).unwrap();
    let end = kill_before(&daemon, kill_now);
    let end = end.unwrap_or_else(|error| panic!("{error}: {}", daemon.text(Stream::Err)));
    drop((daemon, update));
    show.start_daemon();
    end
}
