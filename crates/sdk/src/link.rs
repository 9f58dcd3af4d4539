//! The service worker's end of its socket to the container.

use std::cell::RefCell;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use nesssi_rpc::{Fault, FaultCode, Value};
use nesssi_service::protocol::{Ask, AtWorker, FromWorker, LINE_BYTES_MAX, Request};
use nesssi_service::{Lines, Token};

/// The descriptor on which a worker finds its socket.
const INHERITED: i32 = 3;

/// How much is read at a time, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// The socket, with what came and is not yet read.
#[derive(Debug)]
pub(crate) struct Link {
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    stream: UnixStream,
    lines: Lines,
    asked: u64,
    /// The container has asked for an end.
    stopping: bool,
    /// It has gone, or speaks no protocol that is known here.
    gone: bool,
}

impl Link {
    /// Takes over the inherited socket, which no child of this process gets.
    pub(crate) fn inherited() -> io::Result<Self> {
        let descriptor = nesssi_privsep::sys::inherited(INHERITED)?;
        Ok(Self::new(descriptor.into()))
    }

    pub(crate) fn new(stream: UnixStream) -> Self {
        let lines = Lines::new(LINE_BYTES_MAX);
        let state = State { stream, lines, asked: 0, stopping: false, gone: false };
        Self { state: RefCell::new(state) }
    }

    /// Whether no further call is to be taken.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.state.borrow();
        state.stopping || state.gone
    }

    /// Whether nobody is there any more to be answered.
    pub(crate) fn is_gone(&self) -> bool {
        self.state.borrow().gone
    }

    /// The next message; `None` once the container has gone.
    ///
    /// # Errors
    /// What came is no message.
    pub(crate) fn receive(&self) -> io::Result<Option<AtWorker>> {
        self.state.borrow_mut().receive()
    }

    /// Says something.
    pub(crate) fn say(&self, message: &FromWorker) -> io::Result<()> {
        self.state.borrow_mut().say(message)
    }

    /// Writes text as it is.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        self.state.borrow_mut().stream.write_all(text.as_bytes())
    }

    /// What the container answers to a request.
    ///
    /// # Errors
    /// The fault that it answers; 503 once it has gone.
    pub(crate) fn ask(&self, token: &Token, request: Request) -> Result<Value, Fault> {
        self.state.borrow_mut().ask(token, request)
    }
}

impl State {
    fn receive(&mut self) -> io::Result<Option<AtWorker>> {
        loop {
            if let Some(line) = self.lines.next_line().map_err(io::Error::other)? {
                return AtWorker::parse(line).map(Some).map_err(io::Error::other);
            }
            let mut piece = [0; READ_BYTES];
            match self.stream.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => self.lines.push(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error),
            }
        }
        self.gone = true;
        Ok(None)
    }

    fn say(&mut self, message: &FromWorker) -> io::Result<()> {
        let mut line = Vec::new();
        match message.write_line(&mut line) {
            Ok(()) => self.stream.write_all(&line),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    fn ask(&mut self, token: &Token, request: Request) -> Result<Value, Fault> {
        self.asked += 1;
        let id = format!("w{}", self.asked);
        let ask = FromWorker::Ask { id: id.clone(), ask: Ok(Ask { token: *token, request }) };
        self.say(&ask).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => Fault::invalid_params(error.to_string()),
            _ => self.lost(),
        })?;
        loop {
            match self.receive() {
                Ok(Some(AtWorker::Answer { id: of, outcome })) if of == id => {
                    return outcome
                        .map_err(|(code, text)| Fault::new(FaultCode::from_number(code), text));
                }
                Ok(Some(AtWorker::Shutdown)) => self.stopping = true,
                // Neither a call while one goes on nor another's answer is part of the protocol.
                Ok(Some(AtWorker::Call { .. } | AtWorker::Answer { .. }) | None) | Err(_) => {
                    return Err(self.lost());
                }
            }
        }
    }

    fn lost(&mut self) -> Fault {
        self.gone = true;
        Fault::new(FaultCode::Unavailable, "the server is being restarted: try again")
    }
}
