//! A gRPC server by hand: it answers what a backup asks before the stream, and then plays a script.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::{HeaderMap, Response};
use tokio::net::{TcpListener, TcpStream};

/// What the snapshot stream does, one after the other.
#[derive(Clone)]
pub(crate) enum Step {
    /// A message.
    Send { blob: Vec<u8>, remaining: u64 },
    /// Messages without bytes until the client goes away.
    Empty { remaining: u64 },
    /// Nothing for a while.
    Pause(Duration),
    /// Nothing any more.
    Silence,
    /// An end with this gRPC status and message.
    Fail(u32, &'static str),
    /// The connection breaks.
    Break,
}

/// An answer to a call of Status.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    pub(crate) raft_applied_index: u64,
    pub(crate) errors: &'static str,
}

impl Default for Told {
    fn default() -> Self {
        Self { cluster_id: 0xc, member_id: 0xb, raft_applied_index: 0, errors: "" }
    }
}

/// How the server behaves.
#[derive(Clone)]
pub(crate) struct Script {
    /// gRPC status and message for reads; 0 for a healthy answer.
    pub(crate) read: (u32, &'static str),
    /// What the member says of itself, the last one again and again.
    pub(crate) status: Vec<Told>,
    /// The snapshot stream; after the last step it ends as it should.
    pub(crate) snapshot: Vec<Step>,
}

impl Script {
    pub(crate) fn healthy(snapshot: Vec<Step>) -> Self {
        Self { read: (0, ""), status: vec![Told::default()], snapshot }
    }
}

/// Starts a server and gives its endpoint; it lives as long as the runtime.
pub(crate) async fn serve(script: Script) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let script = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(connection(socket, Arc::clone(&script)));
        }
    });
    endpoint
}

async fn connection(socket: TcpStream, script: Arc<Script>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    let asked = Arc::new(AtomicUsize::new(0));
    let (broken, mut breaks) = tokio::sync::mpsc::channel::<()>(1);
    loop {
        let request = tokio::select! {
            request = connection.accept() => request,
            _ = breaks.recv() => return,
        };
        let Some(Ok((request, respond))) = request else { return };
        let path = request.uri().path().to_owned();
        let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
        let broken = broken.clone();
        tokio::spawn(async move {
            match path.as_str() {
                "/etcdserverpb.Maintenance/Snapshot" => play(respond, &script.snapshot, broken).await,
                "/etcdserverpb.Maintenance/Status" => {
                    let asked = asked.fetch_add(1, Ordering::Relaxed).min(script.status.len() - 1);
                    unary(respond, status(&script.status[asked])).await;
                }
                "/etcdserverpb.Cluster/MemberList" => unary(respond, member_list()).await,
                "/etcdserverpb.KV/Range" if script.read.0 == 0 => unary(respond, Vec::new()).await,
                "/etcdserverpb.KV/Range" => refuse(respond, script.read.0, script.read.1),
                _ => refuse(respond, 12, "not played here"),
            }
        });
    }
}

async fn play(mut respond: SendResponse<Bytes>, steps: &[Step], broken: tokio::sync::mpsc::Sender<()>) {
    // As Go's server does: the headers come with the first message, a refusal before it has no others.
    let mut stream: Option<SendStream<Bytes>> = None;
    for step in steps {
        match step {
            Step::Send { blob, remaining } => {
                let open = stream.get_or_insert_with(|| open(&mut respond));
                if send(open, &snapshot_response(blob, *remaining)).await.is_err() {
                    return;
                }
            }
            Step::Empty { remaining } => {
                let open = stream.get_or_insert_with(|| open(&mut respond));
                while send(open, &snapshot_response(&[], *remaining)).await.is_ok() {}
                return;
            }
            Step::Pause(time) => tokio::time::sleep(*time).await,
            Step::Silence => std::future::pending().await,
            Step::Fail(code, message) => {
                match stream {
                    Some(mut open) => drop(open.send_trailers(trailers(*code, message))),
                    None => refuse(respond, *code, message),
                }
                return;
            }
            Step::Break => {
                // Lets what was sent reach the client first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let _ = broken.send(()).await;
                return;
            }
        }
    }
    let mut open = stream.unwrap_or_else(|| open(&mut respond));
    let _ = open.send_trailers(trailers(0, ""));
}

fn open(respond: &mut SendResponse<Bytes>) -> SendStream<Bytes> {
    let headers = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    respond.send_response(headers, false).unwrap()
}

fn refuse(mut respond: SendResponse<Bytes>, code: u32, message: &str) {
    let headers = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", code.to_string())
        .header("grpc-message", message)
        .body(())
        .unwrap();
    let _ = respond.send_response(headers, true);
}

async fn unary(mut respond: SendResponse<Bytes>, message: Vec<u8>) {
    let mut stream = open(&mut respond);
    if send(&mut stream, &message).await.is_ok() {
        let _ = stream.send_trailers(trailers(0, ""));
    }
}

fn trailers(code: u32, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.to_string().parse().unwrap());
    trailers.insert("grpc-message", message.parse().unwrap());
    trailers
}

/// Sends one message in gRPC's frame, as the client's window allows.
async fn send(stream: &mut SendStream<Bytes>, message: &[u8]) -> Result<(), ()> {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(message);
    let mut rest = Bytes::from(frame);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.ok_or(())?.map_err(|_| ())?;
        let part = rest.split_to(room.min(rest.len()));
        stream.send_data(part, false).map_err(|_| ())?;
    }
    Ok(())
}

fn snapshot_response(blob: &[u8], remaining: u64) -> Vec<u8> {
    let mut message = Vec::new();
    number(&mut message, 2, remaining);
    bytes(&mut message, 3, blob);
    message
}

/// Status of a member at revision 7, as etcd 3.5.30 would give it.
fn status(told: &Told) -> Vec<u8> {
    let mut message = Vec::new();
    bytes(&mut message, 1, &header(told.cluster_id, told.member_id, true));
    bytes(&mut message, 2, b"3.5.30");
    number(&mut message, 5, 11);
    number(&mut message, 6, 2);
    number(&mut message, 7, told.raft_applied_index);
    if !told.errors.is_empty() {
        bytes(&mut message, 8, told.errors.as_bytes());
    }
    message
}

fn member_list() -> Vec<u8> {
    let mut member = Vec::new();
    number(&mut member, 1, 0xb);
    bytes(&mut member, 2, b"fake");
    bytes(&mut member, 3, b"http://127.0.0.1:2380");
    let mut message = Vec::new();
    bytes(&mut message, 1, &header(0xc, 0, false));
    bytes(&mut message, 2, &member);
    message
}

fn header(cluster_id: u64, member_id: u64, with_revision: bool) -> Vec<u8> {
    let mut header = Vec::new();
    number(&mut header, 1, cluster_id);
    number(&mut header, 2, member_id);
    if with_revision {
        number(&mut header, 3, 7);
    }
    number(&mut header, 4, 2);
    header
}

fn number(message: &mut Vec<u8>, field: u8, value: u64) {
    message.push(field << 3);
    varint(message, value);
}

fn bytes(message: &mut Vec<u8>, field: u8, value: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, value.len() as u64);
    message.extend_from_slice(value);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    message.push(value.to_le_bytes()[0]);
}
