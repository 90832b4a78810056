//! One DNS query and what came back, written and read by an independent library.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{SOA, opt::EdnsOption},
    },
    serialize::binary::DecodeError,
};
use thiserror::Error;

use crate::namespace::Namespace;

/// INFO-CODE of the option "extended DNS error" (RFC 8914 §2).
const EDE_OPTION: u16 = 15;

/// A query to be sent; every sending draws a fresh id.
#[derive(Clone, Debug)]
pub struct Query {
    name: Name,
    record_type: RecordType,
    edns_payload_bytes: Option<u16>,
    dnssec_ok: bool,
    transport: Transport,
    timeout: Duration,
    source: Option<IpAddr>,
}

/// What carries a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// One datagram each way.
    #[default]
    Udp,
    /// A connection of its own.
    Tcp,
}

/// An answer that belongs to its query: same id, same question byte for byte.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The message as the independent library reads it.
    pub message: Message,
    /// The message as it came.
    pub bytes: Vec<u8>,
    /// From before sending to after receiving.
    pub round_trip: Duration,
}

/// An extended DNS error (RFC 8914).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedError {
    /// INFO-CODE.
    pub code: u16,
    /// EXTRA-TEXT, often empty.
    pub text: String,
}

/// Why there is no reply.
#[derive(Debug, Error)]
pub enum QueryError {
    /// The name cannot be written.
    #[error("{name:?} is not a domain name: {why}")]
    Name {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing came.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// A socket failed.
    #[error("cannot {what}: {source}")]
    Socket {
        /// The operation.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The namespace cannot be entered.
    #[error("{0:#}")]
    Namespace(anyhow::Error),
    /// The independent library cannot read the answer.
    #[error("the answer of {len} bytes is malformed: {source}")]
    Malformed {
        /// Bytes of the answer.
        len: usize,
        /// Why.
        source: DecodeError,
    },
    /// The answer is for something else.
    #[error("the answer does not belong to the query: {0}")]
    Foreign(&'static str),
}

impl Query {
    /// A query over UDP without EDNS; the case of `name` is kept.
    ///
    /// # Errors
    /// Fails when `name` is not a domain name in ASCII.
    pub fn new(name: &str, record_type: RecordType) -> Result<Self, QueryError> {
        let parsed = Name::from_ascii(name).map_err(|error| QueryError::Name {
            name: name.to_owned(),
            why: error.to_string(),
        })?;
        Ok(Self::for_name(parsed, record_type))
    }

    /// A query for a name that is there already, e.g. one of 127 labels.
    pub fn for_name(mut name: Name, record_type: RecordType) -> Self {
        name.set_fqdn(true);
        Self {
            name,
            record_type,
            edns_payload_bytes: None,
            dnssec_ok: false,
            transport: Transport::Udp,
            timeout: Duration::from_secs(2),
            source: None,
        }
    }

    /// Adds OPT with the payload size of 1232 bytes.
    #[must_use]
    pub fn edns(mut self) -> Self {
        self.edns_payload_bytes = Some(1232);
        self
    }

    /// Adds OPT with DO set.
    #[must_use]
    pub fn dnssec_ok(self) -> Self {
        Self {
            dnssec_ok: true,
            ..self.edns()
        }
    }

    /// Changes every other letter of the name to upper case.
    #[must_use]
    pub fn mixed_case(mut self) -> Self {
        let mut letters = 0;
        let labels: Vec<Vec<u8>> = self.name.iter().map(<[u8]>::to_vec).collect();
        let mixed = labels.into_iter().map(|mut label| {
            for byte in label.iter_mut().filter(|byte| byte.is_ascii_alphabetic()) {
                letters += 1;
                if letters % 2 == 0 {
                    byte.make_ascii_uppercase();
                }
            }
            label
        });
        self.name = Name::from_labels(mixed.collect::<Vec<_>>()).expect("as long as before");
        self
    }

    /// Chooses the transport.
    #[must_use]
    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Sets how long to wait; two seconds otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Asks over UDP from one of several addresses; the kernel chooses otherwise.
    #[must_use]
    pub fn from_address(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// The name asked for.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Writes the message.
    pub fn to_bytes(&self, id: u16) -> Vec<u8> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Question::query(self.name.clone(), self.record_type));
        if let Some(payload_bytes) = self.edns_payload_bytes {
            let mut edns = Edns::new();
            edns.set_max_payload(payload_bytes).set_version(0);
            edns.set_dnssec_ok(self.dnssec_ok);
            message.set_edns(edns);
        }
        message.to_vec().expect("one question fits any message")
    }

    /// Asks from a namespace.
    pub fn ask_from(&self, namespace: &Namespace, server: SocketAddr) -> Result<Reply, QueryError> {
        namespace
            .run(|| self.ask(server))
            .map_err(QueryError::Namespace)?
    }

    /// Asks from the calling thread's namespace.
    pub fn ask(&self, server: SocketAddr) -> Result<Reply, QueryError> {
        let query = self.to_bytes(fresh_id());
        match self.transport {
            Transport::Udp => self.ask_over_udp(&query, server),
            Transport::Tcp => self.ask_over_tcp(&query, server),
        }
    }

    fn ask_over_udp(&self, query: &[u8], server: SocketAddr) -> Result<Reply, QueryError> {
        let any = if server.is_ipv4() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        } else {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        };
        let source = (self.source.unwrap_or(any), 0);
        let socket = UdpSocket::bind(source).map_err(failed("open a socket"))?;
        socket
            .connect(server)
            .map_err(failed("reach the resolver"))?;
        socket
            .set_read_timeout(Some(self.timeout))
            .map_err(failed("set a timeout"))?;
        let start = Instant::now();
        socket.send(query).map_err(failed("send the query"))?;
        let mut buffer = vec![0; 65_535];
        let len = socket.recv(&mut buffer).map_err(self.not_received())?;
        let round_trip = start.elapsed();
        buffer.truncate(len);
        Reply::read(query, buffer, round_trip)
    }

    fn ask_over_tcp(&self, query: &[u8], server: SocketAddr) -> Result<Reply, QueryError> {
        let start = Instant::now();
        let mut stream =
            TcpStream::connect_timeout(&server, self.timeout).map_err(failed("connect"))?;
        stream
            .set_read_timeout(Some(self.timeout))
            .map_err(failed("set a timeout"))?;
        let len = u16::try_from(query.len()).expect("a query is short");
        // RFC 7766 §8: length and message in one segment.
        let sent = [&len.to_be_bytes(), query].concat();
        stream.write_all(&sent).map_err(failed("send the query"))?;
        let mut len = [0; 2];
        stream.read_exact(&mut len).map_err(self.not_received())?;
        let mut buffer = vec![0; usize::from(u16::from_be_bytes(len))];
        stream
            .read_exact(&mut buffer)
            .map_err(self.not_received())?;
        Reply::read(query, buffer, start.elapsed())
    }

    fn not_received(&self) -> impl Fn(io::Error) -> QueryError + use<> {
        let timeout = self.timeout;
        move |source| match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => QueryError::TimedOut(timeout),
            _ => failed("receive the answer")(source),
        }
    }
}

impl Reply {
    /// Reads an answer to `query`.
    ///
    /// # Errors
    /// Fails when it is malformed, not a response, or has another id or question.
    pub fn read(query: &[u8], bytes: Vec<u8>, round_trip: Duration) -> Result<Self, QueryError> {
        let len = bytes.len();
        let message =
            Message::from_vec(&bytes).map_err(|source| QueryError::Malformed { len, source })?;
        if message.metadata.message_type != MessageType::Response {
            return Err(QueryError::Foreign("it is a query"));
        }
        if bytes[..2] != query[..2] {
            return Err(QueryError::Foreign("another id"));
        }
        let question_end = question_end(query);
        if message.queries.len() != 1 || bytes.get(12..question_end) != query.get(12..question_end)
        {
            return Err(QueryError::Foreign(
                "another question, or the same in another case",
            ));
        }
        Ok(Self {
            message,
            bytes,
            round_trip,
        })
    }

    /// The response code, with the upper bits of OPT.
    pub fn rcode(&self) -> ResponseCode {
        self.message.metadata.response_code
    }

    /// The response code; NXDOMAIN for an answer without data, too: the filter says either of a blocked
    /// name, and the resolver behind it has data for every name.
    pub fn outcome(&self) -> ResponseCode {
        match self.rcode() {
            ResponseCode::NoError if self.answers().is_empty() => ResponseCode::NXDomain,
            code => code,
        }
    }

    /// The response code as it is usually written, e.g. `NXDOMAIN`.
    pub fn rcode_text(&self) -> String {
        format!("{:?}", self.rcode()).to_uppercase()
    }

    /// Records of the answer section.
    pub fn answers(&self) -> &[Record] {
        &self.message.answers
    }

    /// The SOA of a negative answer with the name that owns it.
    pub fn soa(&self) -> Option<(&Name, &SOA)> {
        self.message
            .authorities
            .iter()
            .find_map(|record| match &record.data {
                RData::SOA(soa) => Some((&record.name, soa)),
                _ => None,
            })
    }

    /// Whether the answer carries OPT.
    pub fn has_opt(&self) -> bool {
        self.message.edns.is_some()
    }

    /// The first extended DNS error.
    pub fn extended_error(&self) -> Option<ExtendedError> {
        let options = &self.message.edns.as_ref()?.options().options;
        options.iter().find_map(|(_, option)| match option {
            EdnsOption::Unknown(EDE_OPTION, data) => {
                let (code, text) = data.split_first_chunk()?;
                Some(ExtendedError {
                    code: u16::from_be_bytes(*code),
                    text: String::from_utf8_lossy(text).into_owned(),
                })
            }
            _ => None,
        })
    }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> QueryError {
    move |source| QueryError::Socket { what, source }
}

/// Where the only question of a message without compression ends.
fn question_end(query: &[u8]) -> usize {
    let mut position = 12;
    while let Some(&len) = query.get(position).filter(|len| **len != 0) {
        position += 1 + usize::from(len);
    }
    position + 5
}

/// An id that differs from that of other queries of the time; secrecy is of no concern in the lab.
fn fresh_id() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Instant::now()) as u16
}
