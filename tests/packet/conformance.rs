//! The table of protocol cases on the host, in the kernel and before a real client.
//!
//! What comes out is `docs/conformance.md`; the test fails when that file says something else.
//! NXDP_WRITE_DOCS=1 writes it anew.

use std::{fmt::Write as _, fs, net::UdpSocket, path::Path, process::Command, time::Duration};

use filter_common::reason::{Action, Reason};
use hickory_proto::op::ResponseCode;
use nxdp_lab::{
    cases,
    check::check_frame,
    conformance::{self, BLOCKED, Case, Expected, FREE, judge},
    engines::{HostEngine, KernelEngine, Verdict, compile_texts},
    filter::binary,
    frame::UdpFrame,
    lab::{self, LAN_INTERFACE, Lab},
    process::Process,
};
use tempfile::TempDir;

#[test]
fn the_page_of_conformance_says_what_host_kernel_and_client_do() {
    let mut bench = Bench::start();
    let (blocked, free) = (bench.rows(BLOCKED), bench.rows(FREE));
    let wrong: Vec<String> = blocked.iter().chain(&free).filter_map(Row::wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let page = page(&blocked, &free);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    if std::env::var_os("NXDP_WRITE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/conformance.md is not what the tests find: run this test with NXDP_WRITE_DOCS=1"
    );
}

/// The resolver's wire carried the message as it was sent.
const ARRIVED: &str = "socket: resolver has it";

/// Neither the client nor the resolver got anything.
const NOTHING: &str = "socket: nothing";
/// The client gave up.
const NO_ANSWER: &str = "dig: no answer";

/// What was seen of one case.
struct Row {
    case: Case,
    host: String,
    kernel: String,
    client: String,
}

impl Row {
    fn expected(&self) -> String {
        match self.case.expected {
            Expected::Answer => "NXDOMAIN".into(),
            Expected::AnswerWithCookie => "NXDOMAIN, cookie".into(),
            Expected::Error(rcode) => rcode.into(),
            Expected::Drop(reason) => format!("dropped, `{}`", reason.name()),
            Expected::Pass(_) if self.case.is_over_tcp => "the resolver's answer".into(),
            Expected::Pass(reason) => format!("unchanged, `{}`", reason.name()),
        }
    }

    /// Whether every cell is as expected.
    fn is_right(&self) -> bool {
        let expected = self.expected();
        let is_client_right = match self.case.expected {
            // dig shows no more than the code.
            Expected::Answer | Expected::AnswerWithCookie => self.client.contains("NXDOMAIN"),
            Expected::Error(rcode) => self.client.ends_with(rcode),
            Expected::Drop(_) => [NOTHING, NO_ANSWER].contains(&self.client.as_str()),
            Expected::Pass(_) => [
                "dig: NOERROR",
                "dig: NOTIMP",
                "dig: FORMERR",
                "dig: BADVERS",
                ARRIVED,
            ]
            .contains(&self.client.as_str()),
        };
        let is_body_right = self.case.is_over_tcp || self.host == expected;
        is_body_right && self.host == self.kernel && is_client_right
    }

    fn wrong(&self) -> Option<String> {
        let cells = || {
            format!(
                "{}: expected {}, host {}, kernel {}, client {}",
                self.case.what,
                self.expected(),
                self.host,
                self.kernel,
                self.client
            )
        };
        (!self.is_right()).then(cells)
    }
}

/// Both bodies of the core, and the lab with the built binary in it; dropped in this order.
struct Bench {
    host: HostEngine,
    kernel: KernelEngine,
    _filter: Process,
    _responder: nxdp_lab::responder::Responder,
    lab: Lab,
    _folder: TempDir,
}

impl Bench {
    fn start() -> Self {
        let image = compile_texts(&cases::LISTS).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::new().unwrap();
        let responder = lab.start_responder().unwrap();
        let filter = start_filter(&lab, &folder);
        Self {
            host: HostEngine::new(&image),
            kernel: KernelEngine::new(&image).unwrap(),
            _filter: filter,
            _responder: responder,
            lab,
            _folder: folder,
        }
    }

    fn rows(&mut self, name: &str) -> Vec<Row> {
        let cases = conformance::all(name);
        cases.into_iter().map(|case| self.row(case, name)).collect()
    }

    fn row(&mut self, case: Case, name: &str) -> Row {
        let (mut host, mut kernel) = ("–".to_owned(), "–".to_owned());
        if !case.is_over_tcp {
            let frames = [
                UdpFrame::query_v4(40_000, &case.message).build(),
                UdpFrame::query_v6(40_000, &case.message).vlan(7).build(),
            ];
            host = same(frames.each_ref().map(|frame| {
                let verdict = self.host.judge(frame);
                seen(frame, &case.message, &verdict)
            }));
            kernel = same(frames.each_ref().map(|frame| {
                let verdict = self.kernel.judge(frame).unwrap();
                seen(frame, &case.message, &verdict)
            }));
        }
        let client = match &case.dig {
            Some(flags) => self.dig(name, flags),
            None => self.socket(&case.message),
        };
        Row {
            case,
            host,
            kernel,
            client,
        }
    }

    /// Asks with the real client; its cell is the response code.
    fn dig(&self, name: &str, flags: &str) -> String {
        let server = format!("@{}", lab::RESOLVER_V4);
        let mut arguments = vec![server.as_str(), name, "+tries=1", "+timeout=3"];
        arguments.extend(flags.split(' '));
        let output = match self.lab.client().output("dig", &arguments) {
            Ok(output) => output,
            // It ends so when nothing came; what else fails fails before.
            Err(error) if error.to_string().contains("failed in client") => {
                return NO_ANSWER.into();
            }
            Err(error) => return format!("dig {arguments:?}: {error:#}"),
        };
        let statuses: Vec<&str> = output
            .lines()
            .filter_map(|line| line.split_once("status: ")?.1.split(',').next())
            .collect();
        let warnings: Vec<&str> = output
            .lines()
            .filter(|line| line.contains("WARNING") && !line.contains("recursion requested"))
            .collect();
        match (statuses.as_slice(), warnings.as_slice()) {
            ([status], []) => format!("dig: {status}"),
            ([], []) => NO_ANSWER.into(),
            _ => format!("dig {arguments:?}: {statuses:?} {warnings:?}"),
        }
    }

    /// Sends the very bytes from a socket, and looks at the resolver's wire and the client's socket.
    fn socket(&self, message: &[u8]) -> String {
        let at_resolver = self.lab.resolver_socket().unwrap();
        let socket = self
            .lab
            .client()
            .run(|| UdpSocket::bind("0.0.0.0:0").unwrap())
            .unwrap();
        socket.connect(lab::DNS_V4).unwrap();
        socket.send(message).unwrap();
        // Between veth pairs nobody computes UDP checksums: look at the bytes only.
        let has_arrived = |frame: &[u8]| frame.get(42..) == Some(message);
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let mut buffer = [0; 2048];
        let answer = socket.recv(&mut buffer).ok().map(|len| &buffer[..len]);
        if let Some(Ok(judged)) = answer
            .filter(|answer| answer[3] & 15 == 3)
            .map(|answer| judge(message, answer))
        {
            return format!("socket: {}", judged.rcode);
        }
        let reached = at_resolver.receive_until(Duration::from_millis(500), |received| {
            has_arrived(&received.bytes).then_some(())
        });
        match reached.unwrap() {
            Some(()) => ARRIVED.into(),
            // The error is not the resolver's.
            None => match answer.map(|answer| error_of(message, answer)) {
                Some(Ok(rcode)) => format!("socket: {rcode}"),
                _ => NOTHING.into(),
            },
        }
    }
}

fn start_filter(lab: &Lab, folder: &TempDir) -> Process {
    let mut command = Command::new(binary().unwrap());
    command.args(["run", "--interface", LAN_INTERFACE, "--mode", "native"]);
    command
        .arg("--socket")
        .arg(folder.path().join("control.sock"));
    for (name, text) in cases::LISTS {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        command.arg("--list").arg(path);
    }
    let filter = lab.router().spawn(command).unwrap();
    filter
        .wait_for_line(0, "attached", Duration::from_secs(60))
        .unwrap();
    filter
}

/// What a body did with a frame, in the words of the table.
fn seen(frame: &[u8], query: &[u8], verdict: &Verdict) -> String {
    let name = verdict.reason.name();
    match verdict.reason.action() {
        Action::Pass if verdict.frame == frame => format!("unchanged, `{name}`"),
        Action::Drop if verdict.frame == frame => format!("dropped, `{name}`"),
        Action::Pass | Action::Drop => format!("`{name}`, changed"),
        Action::Transmit if matches!(verdict.reason, Reason::FormErr | Reason::BadVersion) => {
            let answer = check_frame(&verdict.frame).map_err(|error| error.to_string());
            match answer.and_then(|answer| error_of(query, &answer.payload)) {
                Ok(rcode) | Err(rcode) => rcode,
            }
        }
        Action::Transmit => match answer_to(query, &verdict.frame) {
            Ok(judged) if judged.has_cookie => format!("{}, cookie", judged.rcode),
            Ok(judged) => judged.rcode,
            Err(why) => why,
        },
    }
}

/// The word for the error in an answer that echoes the question and has nothing else, but OPT in
/// a BADVERS (RFC 6891 §6.1.3, §7).
fn error_of(query: &[u8], answer: &[u8]) -> Result<String, String> {
    let message =
        hickory_proto::op::Message::from_vec(answer).map_err(|error| error.to_string())?;
    let rcode = match message.metadata.response_code {
        ResponseCode::FormErr => "FORMERR",
        // TSIG has the same number for BADSIG.
        ResponseCode::BADVERS | ResponseCode::BADSIG => "BADVERS",
        other => return Err(format!("{other:?}")),
    };
    let sections = [
        message.answers.len(),
        message.authorities.len(),
        message.additionals.len(),
    ];
    let end = 12
        + query[12..]
            .iter()
            .position(|byte| *byte == 0)
            .ok_or("no question")?
        + 5;
    let is_echo = answer[..2] == query[..2] && answer.get(12..end) == query.get(12..end);
    if sections != [0; 3] || !is_echo || message.edns.is_some() != (rcode == "BADVERS") {
        return Err(format!("{rcode} with {sections:?}"));
    }
    Ok(rcode.to_owned())
}

fn answer_to(query: &[u8], frame: &[u8]) -> Result<conformance::Judged, String> {
    let answer = check_frame(frame).map_err(|error| error.to_string())?;
    judge(query, &answer.payload)
}

/// One cell of what happened over IPv4 and over IPv6 in a VLAN.
fn same([v4, v6]: [String; 2]) -> String {
    if v4 == v6 {
        v4
    } else {
        format!("IPv4: {v4}; IPv6: {v6}")
    }
}

fn page(blocked: &[Row], free: &[Row]) -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## A blocked name\n\n");
    table(&mut page, blocked);
    page.push_str("\n## A name that no list has\n\n");
    table(&mut page, free);
    page.push_str(RESIDUE);
    page
}

fn table(page: &mut String, rows: &[Row]) {
    page.push_str("| case | source | expected | host | kernel | client |\n");
    page.push_str("|---|---|---|---|---|---|\n");
    for row in rows {
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} |",
            row.case.what,
            row.case.source,
            row.expected(),
            row.host,
            row.kernel,
            row.client
        )
        .unwrap();
    }
}

/// What `tests/alone/odd_queries.rs` does, and what is known to get through.
const RESIDUE: &str = "
## What gets through

`tests/alone/odd_queries.rs` asks unbound, dnsmasq, BIND, Knot Resolver and PowerDNS
Recursor mutated queries for blocked names: messages with odd counts, records,
names, flags, OPT records and signatures, in odd packets, fragments and segments,
with random changes on top. BIND is asked as an authoritative server too, unbound
and dnsmasq with data of their own. `cargo xtask test --long odd_queries` asks each
of the eight 100,000 of them, without nxdp and behind it in both modes; each query is
given again by its seed and number. Data of a blocked name must not come back.

What follows is known to get through. All of it needs a sender with raw sockets, or an
offload that nxdp warns of.

| what | why | what an operator can do |
|---|---|---|
| queries that an offload (`rx-gro-list`, taken by force) merged into one frame, each with the same bytes behind its message (`pass_ragged`) | nothing tells where the second query starts | switch the offload off: it is an [obstacle](operations.md#obstacles), and `nxdp features` has the command; or native mode |
| over TCP, a segment that the filter reads and the server does not take (its checksum is wrong, or it is lost between them) has the end of a clean question and not that of its message, and another end follows in the same place | the filter has neither checksums nor windows of a connection, and does not look again at a question that was judged | refuse TCP port 53 to clients that need not have it; filter on the machine that the resolver runs on |
| fragments that overlap, or a first fragment without all headers, before a resolver whose stack takes them | the filter reads the first fragment alone. Linux takes neither (for IPv6: RFC 5722, RFC 7112) | drop fragments to port 53 |

What no nameserver answered with data passes: messages with several questions or none
(`pass_question_count`), responses over UDP (`pass_response`), questions that end early
(`pass_short_question`) or have a name of more than 255 bytes (`pass_long_name`).
";

const HEAD: &str = "\
# Conformance

`tests/packet/conformance.rs` makes this page and fails when this page says something else
(`NXDP_WRITE_DOCS=1 cargo test -p filter-user --test packet conformance` writes it).

Each case is one query from `lab/src/conformance.rs`, over IPv4 and over IPv6 in a VLAN.

- **host**: the core as it runs in tests and fuzzers. **kernel**: the loaded program, by
  `BPF_PROG_TEST_RUN`.
- *unchanged* means that not a byte of the frame differs; the name behind it is the counter that
  moved.
- *dropped* means that the query goes nowhere and gets no answer; the name behind it is the counter
  that moved.
- *FORMERR* and *BADVERS* are answers to queries that break the rules and are blocked: the question
  is echoed, and OPT is there with BADVERS alone. A resolver answers such queries, so that they do
  not pass; see `odd` in [nxdp.toml.md](nxdp.toml.md).
- *NXDOMAIN* means that the frame's lengths and checksums are right by etherparse, and that
  hickory-proto and domain both read: QR=1, RD and CD as asked, RA=1, AA, TC, Z and AD clear, id and
  question echoed byte for byte, one SOA whose MINIMUM is its TTL, OPT iff asked, version 0, 1232
  bytes, DO as asked, no option but an extended error and the cookie asked with, and at most 169
  bytes beyond the question.
- **client**: `dig` in a namespace behind the built filter in native mode; one question sent, no
  warning. Where dig cannot make the query, its bytes go out of a socket. A code other than NXDOMAIN
  is the resolver's: it never says NXDOMAIN.
";
