//! A conversation is one call with all that is said until it is answered.
//!
//! It may be let go of at any moment (a caller hangs up): it then goes on by itself until the
//! worker has answered, so that a job is not half submitted and the worker stays warm.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nesssi_rpc::{Fault, FaultCode, Reply};
use nesssi_service::Token;
use nesssi_service::json::JsonError;
use nesssi_service::protocol::{
    Ask, AskError, CallerFacts, FromWorker, Outcome, ProtocolError, ToWorker,
};
use nesssi_session::SessionId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::worker::Lost;
use super::{Answered, Called, Desk, Host, ServiceCall, Worker, incident};
use crate::grants::CallerGrant;
use crate::registry::Service;

/// How often a running call's CPU time is read.
const METER_MS: u64 = 250;

/// What a conversation holds until its end.
pub(super) struct Kept<H> {
    pub(super) host: Arc<H>,
    pub(super) service: Arc<Service>,
    pub(super) desk: Arc<Desk>,
    pub(super) turn: OwnedSemaphorePermit,
    pub(super) who: CallerGrant,
}

/// A conversation under way.
pub(super) struct Conversation<H: Host>(Option<Talk<H>>);

struct Talk<H> {
    kept: Kept<H>,
    worker: Worker,
    id: u64,
    token: Token,
    began: Instant,
    /// The one ask that is being answered; others wait in the socket.
    asking: Option<Asking>,
    session: Option<SessionId>,
    /// What the worker was refused last.
    refused: Option<Fault>,
}

struct Asking {
    id: String,
    answer: JoinHandle<Answered>,
}

/// How a conversation ends.
enum Ended {
    Answered(Outcome),
    Lost(Lost),
    OverWall,
    OverCpu(u64),
}

impl<H: Host> Conversation<H> {
    /// Writes the call down for the worker.
    ///
    /// # Errors
    /// Where the parameters cannot be sent; the worker is back at its desk then.
    pub(super) fn begin(
        kept: Kept<H>,
        mut worker: Worker,
        call: &ServiceCall<'_>,
        token: Token,
    ) -> Result<Self, Fault> {
        worker.begin();
        let id = worker.calls();
        let who = &kept.who;
        let subject = who.subject.as_ref().map(ToString::to_string).unwrap_or_default();
        let (_, name) = call.method.split();
        let message = ToWorker::Call {
            id,
            token,
            method: call.method.as_str(),
            name,
            args: call.params,
            caller: &CallerFacts {
                clarens_dn: subject.into(),
                account: who.grant.account.as_str().into(),
                level: who.grant.level.as_str().into(),
                cpu_limit: who.grant.limits.cpu_seconds,
                protocol: call.dialect.name().into(),
                request_id: who.request_id.as_str().into(),
            },
        };
        if let Err(error) = worker.put(&message) {
            kept.desk.put_back(worker);
            return Err(unsendable(&error));
        }
        let began = Instant::now();
        let talk =
            Talk { kept, worker, id, token, began, asking: None, session: None, refused: None };
        Ok(Self(Some(talk)))
    }

    /// Goes on until the end.
    pub(super) async fn run(mut self) -> Called {
        let ended = match &mut self.0 {
            Some(talk) => talk.until_end().await,
            None => Ended::Lost(Lost::Ended),
        };
        match self.0.take() {
            Some(talk) => talk.finish(ended),
            None => Called::refused(Fault::incident(&incident())),
        }
    }
}

impl<H: Host> Drop for Conversation<H> {
    fn drop(&mut self) {
        let (Some(mut talk), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(async move {
            let ended = talk.until_end().await;
            tracing::debug!(
                request = talk.kept.who.request_id,
                "a call ended after its caller left"
            );
            talk.finish(ended);
        });
    }
}

/// What happened next.
enum Step {
    Sent(Result<(), Lost>),
    Heard(Result<FromWorker, Lost>),
    Done(Answered),
    Tick,
}

impl<H: Host> Talk<H> {
    /// Every wait in here may be given up and begun again.
    async fn until_end(&mut self) -> Ended {
        self.wind();
        loop {
            let ended = match self.step().await {
                Step::Sent(sent) => sent.err().map(Ended::Lost),
                Step::Heard(Ok(message)) => self.heard(message),
                Step::Heard(Err(lost)) => Some(Ended::Lost(lost)),
                Step::Done(answered) => self.tell(answered),
                Step::Tick => self.over(),
            };
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    async fn step(&mut self) -> Step {
        let (wire, tick) = self.worker.wire_and_tick();
        if wire.is_sending() {
            return tokio::select! {
                biased;
                sent = wire.send() => Step::Sent(sent),
                () = tick => Step::Tick,
            };
        }
        if let Some(asking) = &mut self.asking {
            return tokio::select! {
                biased;
                answer = &mut asking.answer => Step::Done(answer.unwrap_or_else(|_| panicked())),
                () = tick => Step::Tick,
            };
        }
        tokio::select! {
            biased;
            message = wire.hear() => Step::Heard(message),
            () = tick => Step::Tick,
        }
    }

    /// Sets the timer for the next look at the meter, or for the end of the call's time.
    fn wind(&mut self) {
        let wall = Duration::from_secs(self.kept.who.grant.limits.call_wall_seconds.into());
        let left = wall.saturating_sub(self.began.elapsed());
        self.worker.wind(left.min(Duration::from_millis(METER_MS)));
    }

    /// Whether the call has used too much.
    fn over(&mut self) -> Option<Ended> {
        let limits = &self.kept.who.grant.limits;
        let used = self.worker.used();
        if used > u64::from(limits.call_cpu_seconds).saturating_mul(1_000_000) {
            return Some(Ended::OverCpu(used));
        }
        if self.began.elapsed() >= Duration::from_secs(limits.call_wall_seconds.into()) {
            return Some(Ended::OverWall);
        }
        self.wind();
        None
    }

    fn heard(&mut self, message: FromWorker) -> Option<Ended> {
        match message {
            FromWorker::Answer { id, outcome } if id == self.id => Some(Ended::Answered(outcome)),
            FromWorker::Answer { .. } => Some(garbage("it answered a call that it was not given")),
            FromWorker::Ready { .. } | FromWorker::Broken { .. } => {
                Some(garbage("it told its state in the middle of a call"))
            }
            FromWorker::Ask { id, ask } => self.asked(id, ask),
        }
    }

    fn asked(&mut self, id: String, ask: Result<Ask, AskError>) -> Option<Ended> {
        let ask = match ask {
            Ok(ask) if ask.token == self.token => ask,
            Ok(_) => {
                tracing::warn!(
                    service = %self.kept.service.name,
                    request = self.kept.who.request_id,
                    "a worker showed a token that is not that of its call"
                );
                return self.reply(&id, Err((403, "the token is not that of the call under way")));
            }
            Err(AskError::Unknown) => return self.reply(&id, Err((-32601, "unknown request"))),
            Err(AskError::Params(text)) => return self.reply(&id, Err((-32602, &text))),
        };
        let (host, who) = (Arc::clone(&self.kept.host), self.kept.who.clone());
        let service = Arc::clone(&self.kept.service);
        // A task of its own: what it has begun is finished even if the worker is ended meanwhile.
        let answer = tokio::spawn(async move { host.answer(who, service, ask.request).await });
        self.asking = Some(Asking { id, answer });
        None
    }

    fn tell(&mut self, answered: Answered) -> Option<Ended> {
        let Asking { id, .. } = self.asking.take()?;
        self.session = answered.session.or(self.session.take());
        match &answered.reply {
            Ok(value) => self.reply(&id, Ok(value)),
            Err(fault) => {
                let told = self.reply(&id, Err((fault.code.number(), &fault.text)));
                self.refused = answered.reply.err();
                told
            }
        }
    }

    fn reply(
        &mut self,
        id: &str,
        outcome: Result<&nesssi_rpc::Value, (i64, &str)>,
    ) -> Option<Ended> {
        let put = self.worker.put(&ToWorker::Answer { id, outcome });
        put.err().map(|error| garbage(&format!("its request cannot be answered: {error}")))
    }

    /// The end, also of a call whose caller has left: he is charged all the same.
    fn finish(self, ended: Ended) -> Called {
        let (host, who) = (Arc::clone(&self.kept.host), self.kept.who.clone());
        let called = self.conclude(ended);
        host.charge(&who, called.cpu_usec);
        called
    }

    fn conclude(self, ended: Ended) -> Called {
        let Self { kept, mut worker, began, session, refused, .. } = self;
        let wall = began.elapsed();
        match ended {
            Ended::Answered(outcome) => {
                let cpu_usec = worker.charge(wall);
                kept.desk.put_back(worker);
                let reply = reply_of(&kept, outcome);
                let refused = session.is_none() && is_refusal(&reply, refused.as_ref());
                Called { reply, session, cpu_usec, refused }
            }
            Ended::Lost(lost) => {
                let cpu_usec = worker.used();
                let reply = Err(lost_fault(&kept, &lost, &worker));
                kept.desk.lost(worker);
                Called { reply, session, cpu_usec, refused: false }
            }
            Ended::OverWall => {
                let cpu_usec = worker.used();
                let limit = kept.who.grant.limits.call_wall_seconds;
                let text = format!(
                    "the call took {} s, the limit of level {} is {limit} s for one call",
                    wall.as_secs(),
                    kept.who.grant.level
                );
                Called {
                    reply: Err(overrun(kept, worker, text)),
                    session,
                    cpu_usec,
                    refused: false,
                }
            }
            Ended::OverCpu(cpu_usec) => {
                let limit = kept.who.grant.limits.call_cpu_seconds;
                let text = format!(
                    "the call used {}.{:01} CPU seconds, the limit of level {} is {limit} for one call",
                    cpu_usec / 1_000_000,
                    cpu_usec / 100_000 % 10,
                    kept.who.grant.level
                );
                Called {
                    reply: Err(overrun(kept, worker, text)),
                    session,
                    cpu_usec,
                    refused: false,
                }
            }
        }
    }
}

/// Whether a worker only passes on what it was refused itself, or says that the call is none.
fn is_refusal(reply: &Reply, refused: Option<&Fault>) -> bool {
    let Err(fault) = reply else { return false };
    let is_no_call = matches!(
        fault.code,
        FaultCode::InvalidRequest | FaultCode::NoSuchMethod | FaultCode::InvalidParams
    );
    is_no_call || Some(fault) == refused
}

fn garbage(text: &str) -> Ended {
    Ended::Lost(Lost::Garbage(text.to_owned()))
}

fn panicked() -> Answered {
    Answered { reply: Err(Fault::incident(&incident())), session: None }
}

fn reply_of<H: Host>(kept: &Kept<H>, outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Value(value) => Ok(value),
        Outcome::Fault { code, text } => Err(Fault::new(FaultCode::from_number(code), text)),
        Outcome::Exception { incident: told } => {
            let id = if told.is_empty() { incident() } else { told };
            tracing::info!(
                service = %kept.service.name,
                request = kept.who.request_id,
                incident = id,
                "a method raised an exception"
            );
            Err(Fault::incident(&id))
        }
        Outcome::BadValue(error) => {
            kept.host.note(
                kept.service.name.as_str(),
                &format!("request {}: the result cannot be sent: {error}", kept.who.request_id),
            );
            Err(Fault::new(
                FaultCode::Internal,
                format!("the method's result cannot be sent: {error}"),
            ))
        }
    }
}

/// Strangers read the incident's id, developers what happened.
fn lost_fault<H: Host>(kept: &Kept<H>, lost: &Lost, worker: &Worker) -> Fault {
    let id = incident();
    let what = match lost {
        Lost::Ended => "the worker ended in the middle of a call".to_owned(),
        Lost::Garbage(text) => format!("the worker does not keep to the protocol: {text}"),
    };
    let (service, request) = (kept.service.name.as_str(), &kept.who.request_id);
    tracing::warn!(service, request, incident = id, calls = worker.calls(), "{what}");
    kept.host.note(service, &format!("incident {id}, request {request}: {what}"));
    Fault::incident(&id)
}

/// Kills the worker; its turn comes free when it is gone.
fn overrun<H: Host>(kept: Kept<H>, worker: Worker, text: String) -> Fault {
    let (service, request) = (kept.service.name.as_str(), &kept.who.request_id);
    tracing::info!(service, request, "{text}");
    kept.host.note(service, &format!("request {request}: {text}; the worker was killed"));
    tokio::spawn(async move {
        worker.kill().await;
        drop(kept.turn);
    });
    Fault::new(FaultCode::OverLimit, text)
}

fn unsendable(error: &ProtocolError) -> Fault {
    match error {
        ProtocolError::Value(JsonError::Depth) => {
            Fault::invalid_params("the parameters are nested too deep for a service")
        }
        ProtocolError::Value(_) | ProtocolError::Malformed(_) | ProtocolError::TooLong => {
            Fault::invalid_params("the parameters are too long for a service")
        }
    }
}
