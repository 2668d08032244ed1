//! Makes a manager's private socket speak D-Bus as the specification has it.
//!
//! On these sockets systemd signs its messages with its well-known name (`bus_on_connection`,
//! src/core/dbus.c: `sd_bus_set_sender`), where only unique names are allowed, and zbus refuses them.
//! So the bytes pass through here, and the field gets a unique name of the same length.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

const WELL_KNOWN: &[u8; 24] = b"org.freedesktop.systemd1";
const UNIQUE: &[u8; 24] = b":1.000000000000000000000";

/// Bytes of the field: code, signature, length, and the name.
const FIELD: usize = 8 + WELL_KNOWN.len();

/// The header field SENDER (code 7, of type `s`) with this name.
fn field(name: &[u8; 24]) -> [u8; FIELD] {
    let mut field = [0; FIELD];
    field[..4].copy_from_slice(&[7, 1, b's', 0]);
    field[4..8].copy_from_slice(&24_u32.to_ne_bytes());
    field[8..].copy_from_slice(name);
    field
}

/// Passes bytes both ways until either side ends.
pub(super) async fn pass(manager: UnixStream, client: UnixStream) {
    let (from_manager, to_manager) = manager.into_split();
    let (from_client, to_client) = client.into_split();
    tokio::select! {
        _ = there(from_client, to_manager) => {}
        _ = back(from_manager, to_client) => {}
    }
}

async fn there(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<u64> {
    tokio::io::copy(&mut from, &mut to).await
}

async fn back(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut held = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.write_all(&held).await;
        }
        held.extend_from_slice(&buffer[..read]);
        let ready = rewrite(&mut held);
        to.write_all(&held[..ready]).await?;
        held.drain(..ready);
    }
}

/// Rewrites the field wherever it stands; how many bytes can be passed on: the rest may be its
/// beginning.
fn rewrite(bytes: &mut [u8]) -> usize {
    let (old, new) = (field(WELL_KNOWN), field(UNIQUE));
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(FIELD).position(|it| it == old) {
        bytes[at + found..at + found + FIELD].copy_from_slice(&new);
        at += found + FIELD;
    }
    let longest = bytes.len().min(FIELD - 1);
    let kept = (1..=longest)
        .rev()
        .find(|length| bytes.ends_with(&old[..*length]))
        .unwrap_or(0);
    bytes.len() - kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_rewritten_however_the_bytes_come() {
        let message = [
            b"before".as_slice(),
            &field(WELL_KNOWN),
            b"after",
            &field(WELL_KNOWN),
        ]
        .concat();
        let expected = [
            b"before".as_slice(),
            &field(UNIQUE),
            b"after",
            &field(UNIQUE),
        ]
        .concat();
        for piece in [1, 2, 7, 31, 32, 33, 200] {
            let (mut held, mut out) = (Vec::new(), Vec::new());
            for bytes in message.chunks(piece) {
                held.extend_from_slice(bytes);
                let ready = rewrite(&mut held);
                out.extend(held.drain(..ready));
            }
            out.extend(held);
            assert_eq!(out, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn nothing_else_is_touched_or_held_back() {
        let mut bytes = b"org.freedesktop.systemd1 and more".to_vec();
        assert_eq!(rewrite(&mut bytes), bytes.len());
        assert_eq!(bytes, b"org.freedesktop.systemd1 and more");
    }
}
