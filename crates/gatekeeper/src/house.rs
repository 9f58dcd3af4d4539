//! What the gatekeeper asks of the container, as a trait: so that the network side can be tried
//! against a stand-in. Everything is dispatched statically; nothing is decided here.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nesssi_container::{
    Answer, Caller, Change, Container, FileFault, Following, Found, Offered, Put, PutFault, Served,
    Upload, Uploaded,
};
use nesssi_identity::Peer;
use nesssi_rpc::soap::Signature;
use nesssi_rpc::{Call, Fault, MethodName, NamedCall};

/// What answers calls and opens files.
pub(crate) trait House: Clone + Send + Sync + 'static {
    /// A watch on a growing file.
    type Growth: Growth;
    /// A file being written.
    type Upload: Uploading;

    /// Hears who is there: a caller's credential was taken or refused.
    fn connected(&self, peer: &Peer, address: IpAddr);

    /// Answers a call.
    fn call(&self, caller: &Caller, call: Call) -> impl Future<Output = Answer> + Send;

    /// Answers a call whose parameters are named.
    fn call_named(&self, caller: &Caller, call: NamedCall) -> impl Future<Output = Answer> + Send;

    /// Hears of what stood in the place of a call and is none; the fault that answers it.
    fn miscalled(&self, caller: &Caller, fault: Fault) -> impl Future<Output = Fault> + Send;

    /// The signatures of a method that the caller may call; none of any other.
    fn signatures(
        &self,
        caller: &Caller,
        method: &MethodName,
    ) -> impl Future<Output = Vec<Signature>> + Send;

    /// What the caller may call, in all or in one service.
    fn offers(
        &self,
        caller: &Caller,
        only: Option<&str>,
    ) -> impl Future<Output = Result<Vec<Offered>, Fault>> + Send;

    /// Opens a file or directory of a session for reading.
    fn open(
        &self,
        session: &str,
        path: &[u8],
    ) -> impl Future<Output = Result<Found, FileFault>> + Send;

    /// Begins to write a file of a session.
    fn begin_upload(
        &self,
        caller: &Caller,
        put: &Put<'_>,
    ) -> impl Future<Output = Result<Self::Upload, PutFault>> + Send;

    /// Hears what was sent of a file.
    fn served(&self, served: &Served<'_>);

    /// Watches a file of a session.
    fn follow(
        &self,
        session: &str,
        path: &[u8],
    ) -> impl Future<Output = Result<Self::Growth, FileFault>> + Send;
}

/// A watch on a growing file.
pub(crate) trait Growth: Send + 'static {
    /// The next change.
    fn changed(&mut self) -> impl Future<Output = Change> + Send;
}

/// A file being written; dropped, nothing is left of it.
pub(crate) trait Uploading: Send + Sync + 'static {
    /// Where to write, by offset; let go before the commit.
    fn file(&self) -> Option<Arc<OwnedFd>>;

    /// Bytes that it may have.
    fn bytes_max(&self) -> u64;

    /// The account that it belongs to.
    fn account(&self) -> &str;

    /// What a caller reads who sends more.
    fn too_long(&self) -> Fault;

    /// It is whole.
    fn commit(self) -> impl Future<Output = Result<Uploaded, PutFault>> + Send;
}

impl House for Container {
    type Growth = Following;
    type Upload = Upload;

    fn connected(&self, peer: &Peer, address: IpAddr) {
        Self::connected(self, peer, address);
    }

    async fn call(&self, caller: &Caller, call: Call) -> Answer {
        Self::call(self, caller, call).await
    }

    async fn call_named(&self, caller: &Caller, call: NamedCall) -> Answer {
        Self::call_named(self, caller, call).await
    }

    async fn miscalled(&self, caller: &Caller, fault: Fault) -> Fault {
        Self::miscalled(self, caller, fault).await
    }

    async fn signatures(&self, caller: &Caller, method: &MethodName) -> Vec<Signature> {
        Self::signatures(self, caller, method).await
    }

    async fn offers(&self, caller: &Caller, only: Option<&str>) -> Result<Vec<Offered>, Fault> {
        Self::offers(self, caller, only).await
    }

    async fn open(&self, session: &str, path: &[u8]) -> Result<Found, FileFault> {
        Self::open(self, session, path).await
    }

    async fn begin_upload(&self, caller: &Caller, put: &Put<'_>) -> Result<Upload, PutFault> {
        Self::begin_upload(self, caller, put).await
    }

    fn served(&self, served: &Served<'_>) {
        Self::served(self, served);
    }

    async fn follow(&self, session: &str, path: &[u8]) -> Result<Following, FileFault> {
        Self::follow(self, session, path).await
    }
}

impl Growth for Following {
    async fn changed(&mut self) -> Change {
        Self::changed(self).await
    }
}

impl Uploading for Upload {
    fn file(&self) -> Option<Arc<OwnedFd>> {
        Self::file(self)
    }

    fn bytes_max(&self) -> u64 {
        Self::bytes_max(self)
    }

    fn account(&self) -> &str {
        Self::account(self)
    }

    fn too_long(&self) -> Fault {
        Self::too_long(self)
    }

    async fn commit(self) -> Result<Uploaded, PutFault> {
        Self::commit(self).await
    }
}
