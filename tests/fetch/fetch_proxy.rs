//! Lists from servers that only a proxy reaches.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::list_desk::{Desk, GOOD, assert_ends};
use nxdp_lab::list_server::Reply;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_proxy_of_the_environment_is_used_unless_it_says_no() {
    let desk = Desk::new();
    desk.server.say(|_| Reply::ok(GOOD));
    let target = SocketAddr::from(([127, 0, 0, 1], desk.server.address().port()));
    let (proxy, told) = proxy(target, agree_http);
    // The proxy is on an address that lists must not come from; the operator chose it.
    desk.configure_list("https://localhost:4443/ads.txt", "", "");
    let output = desk
        .update_command()
        .env("HTTPS_PROXY", format!("http://{proxy}"))
        .output()
        .unwrap();
    assert_ends(&output, 0, "");
    assert_eq!(
        told.recv_timeout(SOON).unwrap(),
        "CONNECT localhost:4443 HTTP/1.1"
    );
    assert_eq!(desk.text(), GOOD);

    desk.configure("");
    let output = desk
        .update_command()
        .env("https_proxy", format!("http://{proxy}"))
        .env("NO_PROXY", "127.0.0.1,.example")
        .output()
        .unwrap();
    assert_ends(&output, 0, "");
    assert!(told.try_recv().is_err(), "the proxy was not asked");

    // What a proxy must not be made to fetch either.
    desk.configure_list("https://127.0.0.9/ads.txt", "", "");
    let output = desk
        .update_command()
        .env("ALL_PROXY", format!("http://{proxy}"))
        .output()
        .unwrap();
    assert_ends(&output, 1, "127.0.0.9 is no public address");
    assert!(told.try_recv().is_err(), "the proxy was not asked");
}

#[test]
fn a_socks_proxy_gets_the_name_or_the_address_as_its_scheme_says() {
    let desk = Desk::new();
    desk.server.say(|_| Reply::ok(GOOD));
    let target = SocketAddr::from(([127, 0, 0, 1], desk.server.address().port()));
    let (proxy, told) = proxy(target, agree_socks);
    desk.configure_list("https://localhost:4443/ads.txt", "", "");
    let update = |scheme: &str| {
        let mut command = desk.update_command();
        command.env("ALL_PROXY", format!("{scheme}://{proxy}"));
        command.output().unwrap()
    };
    for (scheme, asked) in [("socks5h", "localhost:4443"), ("socks5", "127.0.0.1:4443")] {
        assert_ends(&update(scheme), 0, "");
        assert_eq!(told.recv_timeout(SOON).unwrap(), asked, "{scheme}");
        assert_eq!(desk.text(), GOOD);
    }
    desk.configure_list("https://127.0.0.9/ads.txt", "", "");
    assert_ends(&update("socks5h"), 1, "127.0.0.9 is no public address");
    assert!(told.try_recv().is_err(), "the proxy was not asked");
}

/// A proxy, which connects everybody to `target`; hands back what was asked of it.
fn proxy(
    target: SocketAddr,
    agree: fn(&mut TcpStream) -> io::Result<String>,
) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.4:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for mut near in listener.incoming().flatten() {
            tell.send(agree(&mut near).unwrap()).unwrap();
            let far = TcpStream::connect(target).unwrap();
            let (near_again, far_again) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || io::copy(&mut &near_again, &mut &far_again));
            thread::spawn(move || io::copy(&mut &far, &mut &near));
        }
    });
    (address, told)
}

/// CONNECT (RFC 9110 §9.3.6).
fn agree_http(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let [byte] = read_bytes(client)?;
        head.push(byte);
    }
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    let head = String::from_utf8_lossy(&head);
    Ok(head.lines().next().unwrap_or_default().to_owned())
}

/// CONNECT without authentication (RFC 1928 §3 to §6).
fn agree_socks(client: &mut TcpStream) -> io::Result<String> {
    let [5, methods] = read_bytes(client)? else {
        return Err(io::Error::other("another version of SOCKS"));
    };
    for _ in 0..methods {
        let [_method] = read_bytes(client)?;
    }
    client.write_all(&[5, 0])?;
    let [5, 1, 0, kind] = read_bytes(client)? else {
        return Err(io::Error::other("no CONNECT"));
    };
    let host = match kind {
        1 => Ipv4Addr::from(read_bytes::<4>(client)?).to_string(),
        3 => {
            let [len] = read_bytes(client)?;
            let mut name = vec![0; len.into()];
            client.read_exact(&mut name)?;
            String::from_utf8_lossy(&name).into_owned()
        }
        _ => return Err(io::Error::other(format!("an address of kind {kind}"))),
    };
    let port = u16::from_be_bytes(read_bytes(client)?);
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    Ok(format!("{host}:{port}"))
}

fn read_bytes<const LEN: usize>(stream: &mut TcpStream) -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
