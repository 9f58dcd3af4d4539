//! A server on loopback with a throwaway CA, a stand-in container, and raw callers.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use nesssi_container::{
    Answer, Caller, Change, DirectoryEntry, FileFault, Found, Offered, Put, PutFault, RawFile,
    Served, Uploaded,
};
use nesssi_identity::Peer;
use nesssi_rpc::soap::Signature;
use nesssi_rpc::wsdl::Operation;
use nesssi_rpc::{Call, Fault, FaultCode, MethodName, NamedCall, Value, xmlrpc};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::access_log::AccessLog;
use crate::house::{Growth, House, Uploading};
use crate::serve::{Parts, Server};
use crate::{tls, trust};

pub(super) const SESSION: &str = "0123456789abcdef0123456789abcdef";

/// A container that answers what the tests need.
#[derive(Debug, Clone)]
pub(super) struct StandIn {
    root: PathBuf,
    told: Arc<Mutex<Option<mpsc::Receiver<Change>>>>,
}

pub(super) struct Told(mpsc::Receiver<Change>);

impl Growth for Told {
    async fn changed(&mut self) -> Change {
        self.0.recv().await.unwrap_or(Change::Closed)
    }
}

/// Longest file that the stand-in takes.
pub(super) const UPLOAD_BYTES_MAX: u64 = 1_000_000;

/// A file being written beside its place.
#[derive(Debug)]
pub(super) struct Written {
    root: PathBuf,
    path: PathBuf,
    file: Arc<OwnedFd>,
    bytes_max: u64,
    replace: bool,
    _beside: tempfile::TempPath,
}

impl Uploading for Written {
    fn file(&self) -> Option<Arc<OwnedFd>> {
        Some(Arc::clone(&self.file))
    }

    fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    fn account(&self) -> &'static str {
        "ann"
    }

    fn too_long(&self) -> Fault {
        Fault::new(FaultCode::OverLimit, format!("the limit is {}", self.bytes_max))
    }

    async fn commit(self) -> Result<Uploaded, PutFault> {
        let Self { root, path, file, replace, _beside: beside, .. } = self;
        let replaced = path.exists();
        if replaced && !replace {
            return Err(PutFault::Exists);
        }
        assert_eq!(Arc::strong_count(&file), 1, "somebody may still write");
        let size = fs::metadata(&beside).unwrap().len();
        beside.persist(&path).unwrap();
        assert!(path.starts_with(root));
        Ok(Uploaded { size, replaced })
    }
}

impl House for StandIn {
    type Growth = Told;
    type Upload = Written;

    fn connected(&self, _: &Peer, _: IpAddr) {}

    async fn call(&self, caller: &Caller, call: Call) -> Answer {
        let who = match &*caller.peer {
            Peer::Anonymous(_) => "anonymous".to_owned(),
            Peer::Certified(identity) => identity.subject.to_oneline(),
            Peer::Refused(refusal) => return Answer::of(Err(Fault::refused(refusal.to_string()))),
        };
        match call.method.as_str() {
            "echo.echo" => Answer::of(Ok(call.params.into_iter().next().unwrap_or(Value::Nil))),
            "who.am_i" => Answer::of(Ok(Value::String(who))),
            "who.asks" => {
                let basic = caller.basic.as_ref().map(|basic| (&basic.user, &basic.password));
                let chain =
                    caller.presented.as_ref().map_or(0, |presented| presented.chain().len());
                let asks = format!("{} {:?} {basic:?} {chain}", caller.address, caller.account);
                Answer::of(Ok(Value::String(asks)))
            }
            "who.speaks" => Answer::of(Ok(Value::from(caller.dialect.name()))),
            "typed.say" => Answer::of(Ok(Value::from(format!("{:?}", call.params).as_str()))),
            "slow.wait" => {
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                Answer::of(Ok(Value::from("waited")))
            }
            "session.make" => Answer {
                session: Some(format!("http://files.example:8080/sandboxes/{SESSION}/")),
                again: caller.tag.as_ref().is_some_and(|tag| tag.as_str() == "known"),
                ..Answer::of(Ok(Value::from(SESSION)))
            },
            "file.read" => {
                let [Value::String(name), Value::Int(offset), Value::Int(length)] =
                    call.params.as_slice()
                else {
                    return Answer::of(Err(Fault::invalid_params("name, offset, length")));
                };
                let Ok(file) = fs::File::open(self.root.join(name)) else {
                    return Answer::of(Err(Fault::new(FaultCode::NotFound, "no such file")));
                };
                Answer::raw(RawFile {
                    file: Arc::new(file.into()),
                    offset: u64::try_from(*offset).unwrap(),
                    length: u64::try_from(*length).unwrap(),
                    account: "ann".to_owned(),
                    name: name.clone().into_bytes(),
                })
            }
            "system.listMethods" => {
                let names = ["echo.echo", "a.<b>.c", "system.listMethods"];
                Answer::of(Ok(Value::Array(names.into_iter().map(Value::from).collect())))
            }
            _ => Answer::of(Err(Fault::new(FaultCode::NoSuchMethod, "no such method"))),
        }
    }

    async fn call_named(&self, caller: &Caller, call: NamedCall) -> Answer {
        match call.in_order(&["text", "number"], &[["string", "string", "int"]]) {
            Ok(call) => self.call(caller, call).await,
            Err(fault) => Answer::of(Err(fault)),
        }
    }

    async fn miscalled(&self, _: &Caller, fault: Fault) -> Fault {
        Fault { text: format!("counted: {}", fault.text), ..fault }
    }

    async fn signatures(&self, _: &Caller, method: &MethodName) -> Vec<Signature> {
        match method.as_str() {
            "typed.say" => vec![Signature::from_words(&["string", "string", "int"])],
            _ => Vec::new(),
        }
    }

    async fn offers(&self, caller: &Caller, only: Option<&str>) -> Result<Vec<Offered>, Fault> {
        if let Peer::Refused(refusal) = &*caller.peer {
            return Err(Fault::refused(refusal.to_string()));
        }
        let offered = |service: &str, name: &str, signatures| Offered {
            service: service.to_owned(),
            purpose: String::new(),
            methods: vec![Operation { name: name.to_owned(), help: String::new(), signatures }],
        };
        let typed = vec![Signature::from_words(&["string", "string", "int"])];
        let mut all = vec![offered("echo", "echo", Vec::new()), offered("typed", "say", typed)];
        all.retain(|one| only.is_none_or(|only| only == one.service));
        if all.is_empty() {
            return Err(Fault::new(FaultCode::NoSuchMethod, "no such service"));
        }
        Ok(all)
    }

    async fn open(&self, session: &str, path: &[u8]) -> Result<Found, FileFault> {
        use std::os::unix::ffi::OsStrExt as _;
        use std::os::unix::fs::MetadataExt;
        if session != SESSION {
            return Err(FileFault::NotFound);
        }
        let path = self.root.join(std::ffi::OsStr::from_bytes(path));
        let facts = fs::metadata(&path).map_err(|_| FileFault::NotFound)?;
        if facts.is_dir() {
            let mut entries: Vec<DirectoryEntry> = fs::read_dir(path)
                .unwrap()
                .map(|entry| {
                    let entry = entry.unwrap();
                    let facts = entry.metadata().unwrap();
                    DirectoryEntry {
                        name: entry.file_name().into_encoded_bytes(),
                        directory: facts.is_dir(),
                        size: facts.len(),
                        modified: facts.mtime(),
                    }
                })
                .collect();
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            return Ok(Found::Directory { entries, cut: false });
        }
        Ok(Found::File {
            file: fs::File::open(path).unwrap().into(),
            size: facts.len(),
            modified: facts.mtime(),
            modified_nanos: u32::try_from(facts.mtime_nsec()).unwrap(),
            inode: facts.ino(),
            account: "ann".to_owned(),
        })
    }

    async fn begin_upload(&self, caller: &Caller, put: &Put<'_>) -> Result<Written, PutFault> {
        use std::os::unix::ffi::OsStrExt as _;
        if let Peer::Refused(refusal) = &*caller.peer {
            return Err(Fault::refused(refusal.to_string()).into());
        }
        if put.session != SESSION {
            return Err(Fault::no_such_session().into());
        }
        if put.length.is_some_and(|length| length > UPLOAD_BYTES_MAX) {
            return Err(Fault::new(FaultCode::OverLimit, "too long, as announced").into());
        }
        let path = self.root.join(std::ffi::OsStr::from_bytes(put.path));
        if path.exists() && !put.replace {
            return Err(PutFault::Exists);
        }
        let (file, beside) = tempfile::NamedTempFile::new_in(&self.root).unwrap().into_parts();
        Ok(Written {
            root: self.root.clone(),
            path,
            file: Arc::new(file.into()),
            bytes_max: put.length.unwrap_or(UPLOAD_BYTES_MAX),
            replace: put.replace,
            _beside: beside,
        })
    }

    fn served(&self, served: &Served<'_>) {
        let Served { session, path, address, status, bytes, .. } = served;
        let path = String::from_utf8_lossy(path);
        let line = format!("{session} {path} {address} {status} {bytes:?}\n");
        let log = self.root.with_file_name("served");
        let mut log = fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
        std::io::Write::write_all(&mut log, line.as_bytes()).unwrap();
    }

    async fn follow(&self, _: &str, _: &[u8]) -> Result<Told, FileFault> {
        let told = self.told.lock().unwrap().take();
        told.map(Told).ok_or(FileFault::Unavailable)
    }
}

/// A running server and all that callers need.
pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    pub(super) https: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) server: Server<StandIn>,
    told: Arc<Mutex<Option<mpsc::Receiver<Change>>>>,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A caller's certificate and key.
pub(super) type Credential = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl World {
    /// A server with the default bounds.
    pub(super) fn new() -> Self {
        Self::with("")
    }

    /// A server with these lines under `[bounds]`, and sections after it.
    pub(super) fn with(bounds: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = named("Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::create_dir(folder.path().join("certificates")).unwrap();
        fs::write(folder.path().join("certificates/ca.pem"), issuer.pem()).unwrap();
        let policy = "access_id_CA X509 '/O=NESSSI Test/CN=Test CA'\npos_rights globus CA:sign\n\
                      cond_subjects globus '\"/*\"'\n";
        fs::write(folder.path().join("certificates/ca.signing_policy"), policy).unwrap();
        fs::create_dir(folder.path().join("sandbox")).unwrap();

        let text = format!(
            "[server]\nbase_url = \"https://grid.example:8443\"\n\
             sandbox_url = \"http://files.example:8080\"\n\
             trust_directory = \"certificates\"\n[bounds]\n{bounds}\n"
        );
        let path = folder.path().join("nesssi.toml");
        let config = nesssi_config::parse(&text, &path.to_string_lossy()).unwrap();
        let host_key = KeyPair::generate().unwrap();
        let mut host = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        host.distinguished_name.push(DnType::CommonName, "localhost");
        let host = host.signed_by(&host_key, &issuer).unwrap();
        let (_, problems) = tls::trust_directory(&config.server, 0x6000_0000).unwrap();
        assert_eq!(problems.len(), 0, "{problems:?}");
        let (trust, files) = trust::open(&config.server).unwrap();

        let told = Arc::new(Mutex::new(None));
        let house = StandIn { root: folder.path().join("sandbox"), told: Arc::clone(&told) };
        let tls =
            tls::server_config(host.pem().as_bytes(), host_key.serialize_pem().as_bytes()).unwrap();
        let log = AccessLog::open(folder.path().join("access.log")).unwrap();
        let bind = || StdListener::bind("127.0.0.1:0").unwrap();
        let (https_listener, http_listener) = (bind(), bind());
        let https = https_listener.local_addr().unwrap();
        let http = http_listener.local_addr().unwrap();
        let parts = Parts { house, tls, trust, log };
        let server =
            Server::start(&config, parts, https_listener.into(), http_listener.into()).unwrap();
        server.keep_trust(files);
        Self { folder, https, http, server, told, issuer }
    }

    /// A person's certificate that is good until `seconds` from now, or was until so long ago.
    pub(super) fn person(&self, name: &str, seconds: i64) -> Credential {
        let key = KeyPair::generate().unwrap();
        let mut params = named(name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        #[allow(clippy::disallowed_methods, reason = "certificates begin and end by this clock")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let at = |unix: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(unix);
        params.not_before = at(now.as_secs() - 100_000);
        params.not_after = at(now.as_secs().checked_add_signed(seconds).unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (certificate.der().clone(), key)
    }

    /// A certificate of the CA.
    pub(super) fn sign(&self, params: &CertificateParams, key: &KeyPair) -> rcgen::Certificate {
        params.signed_by(key, &self.issuer).unwrap()
    }

    pub(super) fn client(
        &self,
        credential: Option<&Credential>,
        version: &'static SupportedProtocolVersion,
        alpn: &[u8],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match credential {
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        Arc::new(config)
    }

    pub(super) async fn connect(&self, config: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.https).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::clone(config)).connect(name, stream).await.unwrap()
    }

    /// An HTTP/1.1 connection without a certificate.
    pub(super) async fn anonymous(&self) -> TlsStream<TcpStream> {
        self.connect(&self.client(None, &rustls::version::TLS13, b"http/1.1")).await
    }

    pub(super) async fn plain(&self) -> TcpStream {
        TcpStream::connect(self.http).await.unwrap()
    }

    pub(super) fn sandbox(&self, name: &str) -> PathBuf {
        self.folder.path().join("sandbox").join(name)
    }

    /// Where the next follower's changes come from.
    pub(super) fn growth(&self) -> mpsc::Sender<Change> {
        let (tell, told) = mpsc::channel(8);
        *self.told.lock().unwrap() = Some(told);
        tell
    }

    pub(super) fn access_log(&self) -> String {
        self.server.flush();
        fs::read_to_string(self.folder.path().join("access.log")).unwrap()
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "NESSSI Test");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A `methodCall` document.
pub(super) fn call(method: &str, params: Vec<Value>) -> String {
    let method = MethodName::parse(method).unwrap();
    String::from_utf8(xmlrpc::encode_call(&Call { method, params }).unwrap()).unwrap()
}

/// A request that posts `body` with these further header lines.
pub(super) fn post(headers: &str, body: &str) -> String {
    format!(
        "POST /clarens/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: \
         {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// A request that posts `body` of this content type to `path`, with these further header lines.
pub(super) fn post_to(path: &str, kind: &str, headers: &str, body: &str) -> String {
    post(headers, body).replacen("/clarens/", path, 1).replacen("text/xml", kind, 1)
}

/// A response as it came.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(super) fn reply(&self) -> nesssi_rpc::Reply {
        xmlrpc::decode_reply(&self.body, &xmlrpc::Bounds::default()).unwrap()
    }

    pub(super) fn fault(&self) -> (i64, String) {
        let fault = self.reply().unwrap_err();
        (fault.code.number(), fault.text)
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Sends `request` and reads one response that has a length (or, to `HEAD`, none).
pub(super) async fn ask<S>(stream: &mut S, request: &str) -> Response
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut response = head(stream).await;
    let length = response.header("content-length").map_or(0, |length| length.parse().unwrap());
    if !request.starts_with("HEAD") && response.status != 304 {
        response.body = vec![0; length];
        stream.read_exact(&mut response.body).await.unwrap();
    }
    response
}

/// Reads the head of a response and nothing after it.
pub(super) async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> Response {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the connection ended in a response's head"));
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response { status, head, body: Vec::new() }
}

/// All that comes until the connection ends, cleanly or not.
pub(super) async fn rest<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    let _clean_or_not = tokio::time::timeout(Duration::from_secs(15), reading)
        .await
        .expect("the connection stays open");
    bytes
}
