//! One question to the kernel and its answers, over rtnetlink or generic netlink.

use std::io;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr};

/// A socket to the kernel.
pub(super) struct Connection {
    socket: Socket,
    sequence: u32,
}

/// Whether one answer is wanted or a list of all there is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    One,
    All,
}

/// The attributes of a message or of a nest, by type.
pub(super) struct Attributes(Vec<(u16, Vec<u8>)>);

/// A message whose meaning is the caller's business.
struct Raw {
    message_type: u16,
    bytes: Vec<u8>,
}

impl Connection {
    /// Opens a socket of `netlink_sys::protocols::NETLINK_*`.
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends a message and collects what comes back, up to its end or acknowledgement.
    ///
    /// # Errors
    /// Fails with the kernel's error code when it refuses.
    pub(super) fn ask(
        &mut self,
        message_type: u16,
        bytes: Vec<u8>,
        want: Want,
    ) -> io::Result<Vec<Vec<u8>>> {
        self.sequence += 1;
        self.send(
            Raw {
                message_type,
                bytes,
            },
            want,
        )?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            if self.read(&datagram, &mut answers)? {
                return Ok(answers);
            }
        }
    }

    fn send(&self, raw: Raw, want: Want) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.sequence_number = self.sequence;
        header.flags = NLM_F_REQUEST
            | match want {
                Want::One => NLM_F_ACK,
                Want::All => NLM_F_DUMP,
            };
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(raw));
        message.finalize();
        let mut buffer = vec![0; message.buffer_len()];
        message.serialize(&mut buffer);
        self.socket.send(&buffer, 0)?;
        Ok(())
    }

    /// Reads the messages of one datagram; true when the last one has come.
    fn read(&self, datagram: &[u8], answers: &mut Vec<Vec<u8>>) -> io::Result<bool> {
        let mut rest = datagram;
        while !rest.is_empty() {
            let message = NetlinkMessage::<Raw>::deserialize(rest).map_err(io::Error::other)?;
            let len = usize::try_from(message.header.length).map_err(io::Error::other)?;
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            if message.header.sequence_number != self.sequence {
                continue;
            }
            match message.payload {
                NetlinkPayload::InnerMessage(raw) => answers.push(raw.bytes),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                // An error without a code is the acknowledgement (netlink(7)).
                NetlinkPayload::Done(_) | NetlinkPayload::Error(_) => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }
}

impl Attributes {
    /// Reads the attributes that fill `bytes`; what cannot be read ends the list.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let attributes = NlasIterator::new(bytes).map_while(Result::ok);
        Self(
            attributes
                .map(|attribute| (attribute.kind(), attribute.value().to_vec()))
                .collect(),
        )
    }

    /// The attributes inside the first one of a type; none when it is absent.
    pub(super) fn nest(&self, kind: u16) -> Self {
        Self::read(self.bytes(kind).unwrap_or_default())
    }

    /// Values of all attributes of a type.
    pub(super) fn each(&self, kind: u16) -> impl Iterator<Item = &[u8]> {
        let of_kind = self.0.iter().filter(move |(this, _)| *this == kind);
        of_kind.map(|(_, value)| value.as_slice())
    }

    pub(super) fn has(&self, kind: u16) -> bool {
        self.bytes(kind).is_some()
    }

    pub(super) fn bytes(&self, kind: u16) -> Option<&[u8]> {
        self.each(kind).next()
    }

    pub(super) fn text(&self, kind: u16) -> Option<String> {
        self.bytes(kind).map(text)
    }

    /// The texts of all attributes of a type.
    pub(super) fn texts(&self, kind: u16) -> Vec<String> {
        self.each(kind).map(text).collect()
    }

    pub(super) fn u8(&self, kind: u16) -> Option<u8> {
        self.bytes(kind)?.first().copied()
    }

    pub(super) fn u16(&self, kind: u16) -> Option<u16> {
        self.bytes(kind)?.try_into().ok().map(u16::from_ne_bytes)
    }

    pub(super) fn u32(&self, kind: u16) -> Option<u32> {
        self.bytes(kind)?.try_into().ok().map(u32::from_ne_bytes)
    }

    pub(super) fn u64(&self, kind: u16) -> Option<u64> {
        self.bytes(kind)?.try_into().ok().map(u64::from_ne_bytes)
    }
}

/// The text in front of the first zero.
fn text(bytes: &[u8]) -> String {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes one attribute, padded.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).expect("attributes of questions are short");
    let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

impl NetlinkSerializable for Raw {
    fn message_type(&self) -> u16 {
        self.message_type
    }

    fn buffer_len(&self) -> usize {
        self.bytes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.bytes);
    }
}

impl NetlinkDeserializable for Raw {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            message_type: header.message_type,
            bytes: payload.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_were_written() {
        let bytes = [
            attribute(3, b"eth0\0"),
            attribute(4, &1500_u32.to_ne_bytes()),
            attribute(9, &attribute(1, b"veth")),
        ]
        .concat();
        let attributes = Attributes::read(&bytes);
        assert_eq!(attributes.text(3).as_deref(), Some("eth0"));
        assert_eq!(attributes.u32(4), Some(1500));
        assert_eq!(attributes.nest(9).text(1).as_deref(), Some("veth"));
        assert!(!attributes.has(5) && attributes.u64(4).is_none());
    }

    #[test]
    fn a_cut_attribute_ends_the_list_and_keeps_what_came_before() {
        let bytes = [attribute(1, &[7]), attribute(2, &[0; 40])].concat();
        let attributes = Attributes::read(&bytes[..bytes.len() - 9]);
        assert_eq!((attributes.u8(1), attributes.has(2)), (Some(7), false));
    }
}
