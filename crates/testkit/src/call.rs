//! Calling a World's server as one of its people.

use std::collections::BTreeMap;

use nesssi_client::{Fault, Value};

use crate::{Credential, World, wait_until};

/// How long a job of a test may take.
const JOB_SECONDS_MAX: u64 = 60;

impl World {
    /// Calls as the holder of `credential`, or without a certificate.
    ///
    /// # Errors
    /// The fault that was answered.
    ///
    /// # Panics
    /// If the server cannot be reached or answers something that is no reply.
    pub fn call(
        &self,
        credential: Option<&Credential>,
        method: &str,
        params: Vec<Value>,
    ) -> Result<Value, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = self.client(credential);
            match client.call(method, params).await {
                Ok(value) => Ok(value),
                Err(nesssi_client::Error::Fault(fault)) => Err(fault),
                Err(other) => panic!("{method}: {other}"),
            }
        })
    }

    /// A client of this World's server.
    #[must_use]
    pub fn client(&self, credential: Option<&Credential>) -> nesssi_client::Client {
        let builder =
            nesssi_client::Client::builder(self.url.as_str()).ca(self.grid.trust_directory());
        let builder = match credential {
            Some(credential) => builder.certificate(&credential.certificate).key(&credential.key),
            None => builder.guest(true),
        };
        builder.build().expect("a client can be made")
    }

    /// Calls a method that answers a session id.
    #[must_use]
    pub fn session(
        &self,
        credential: Option<&Credential>,
        method: &str,
        params: Vec<Value>,
    ) -> String {
        let id = self.call(credential, method, params).unwrap_or_else(|f| panic!("{method}: {f}"));
        let id = id.as_str().expect("a session id is text").to_owned();
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "no session id: {id}");
        id
    }

    /// `job.status` of a session, as its members.
    #[must_use]
    pub fn status(
        &self,
        credential: Option<&Credential>,
        session: &str,
    ) -> BTreeMap<String, Value> {
        let answer = self.call(credential, "job.status", vec![session.into()]);
        match answer.unwrap_or_else(|fault| panic!("job.status: {fault}")) {
            Value::Struct(members) => members,
            other => panic!("job.status answers no struct: {other:?}"),
        }
    }

    /// The state of a session's job.
    #[must_use]
    pub fn state(&self, credential: Option<&Credential>, session: &str) -> String {
        let status = self.status(credential, session);
        status.get("state").and_then(Value::as_str).expect("a status has a state").to_owned()
    }

    /// Waits until the job has ended, whatever its end; its last status.
    #[must_use]
    pub fn ended(&self, credential: Option<&Credential>, session: &str) -> BTreeMap<String, Value> {
        wait_until("the job ends", JOB_SECONDS_MAX, || {
            let status = self.status(credential, session);
            let state = status.get("state").and_then(Value::as_str).unwrap_or("").to_owned();
            (!["prepared", "queued", "running"].contains(&state.as_str())).then_some(status)
        })
    }

    /// Waits until the job is in `state`.
    pub fn wait_state(&self, credential: Option<&Credential>, session: &str, state: &str) {
        wait_until(&format!("the job is {state}"), JOB_SECONDS_MAX, || {
            (self.state(credential, session) == state).then_some(())
        });
    }

    /// A file of a sandbox over plain HTTP: the status number and the body.
    #[must_use]
    pub fn file(&self, session: &str, path: &str) -> (u16, String) {
        let (head, body) = self.http(&format!("GET /sandboxes/{session}/{path}"), &[]);
        let number = head.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a status line");
        (number, String::from_utf8_lossy(&body).into_owned())
    }
}
