//! `system.multicall`: each call in it is counted, decided and audited as if it had come by itself.
//!
//! They are answered one after the other. What is wrong with one is the answer in its place; once the
//! whole has taken too long or its answers are too long, those that are left are refused, each in its
//! place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nesssi_rpc::{Call, Fault, FaultCode, Reply, Value, multicall};

use super::{Decided, count, one, record, tagged};
use crate::grants::Grant;
use crate::{Answer, Caller, Inner, raw};

/// After so long no further call of a request begins.
const SECONDS_MAX: u64 = 600;

/// What the answers to the calls of a request may take in memory, about, before the rest is refused.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) async fn answer(
    inner: &Arc<Inner>,
    caller: &Caller,
    grant: &Result<Arc<Grant>, Fault>,
    params: Vec<Value>,
) -> Decided {
    let read =
        tagged::none_for_several(caller).and_then(|()| multicall::read(params, calls_max(inner)));
    let calls = match read {
        Ok(calls) if !calls.is_empty() => calls,
        // It counts as one call.
        other => {
            let empty = other.map(|_| multicall::result([]));
            let counted = count(inner, caller, grant);
            return Decided::of(Answer::of(counted.and(empty)));
        }
    };
    let mut budget = CallsBudget::begin();
    let mut replies = Vec::with_capacity(calls.len());
    for call in calls {
        let counted = count(inner, caller, grant).and_then(|()| budget.check());
        let reply = match call {
            Err(fault) => counted.and(Err(fault)),
            Ok(Call { method, params }) => {
                let mut decided = match counted {
                    Ok(()) => one(inner, caller, grant, &method, params).await,
                    Err(fault) => Decided::fault(fault),
                };
                decided.answer = raw::in_value(&inner.reading, decided.answer).await;
                record(inner, caller, grant, &method, &decided);
                decided.answer.reply
            }
        };
        budget.charge(&reply);
        replies.push(reply);
    }
    Decided::of(Answer::of(Ok(multicall::result(replies))))
}

fn calls_max(inner: &Inner) -> usize {
    usize::try_from(inner.config.bounds.calls_max).unwrap_or(usize::MAX)
}

/// What several calls of one request may take together.
#[derive(Debug)]
pub struct CallsBudget {
    ends: Instant,
    bytes_left: usize,
}

impl CallsBudget {
    /// The whole of it, from now on.
    #[must_use]
    pub fn begin() -> Self {
        let ends = Instant::now() + Duration::from_secs(SECONDS_MAX);
        Self { ends, bytes_left: ANSWER_BYTES_MAX }
    }

    /// Whether the next call may begin.
    ///
    /// # Errors
    /// Fault 413 where those before it took too long, or their answers are too long.
    pub fn check(&self) -> Result<(), Fault> {
        let over = |text: String| Err(Fault::new(FaultCode::OverLimit, text));
        if self.bytes_left == 0 {
            return over(format!(
                "not begun: the answers before it take {ANSWER_BYTES_MAX} bytes, which is the limit"
            ));
        }
        if Instant::now() >= self.ends {
            return over(format!(
                "not begun: the calls before it took {SECONDS_MAX} seconds, which is the limit"
            ));
        }
        Ok(())
    }

    /// Takes what a call was answered off.
    pub fn charge(&mut self, reply: &Reply) {
        let bytes = match reply {
            Ok(value) => value.bytes_held(),
            Err(fault) => fault.text.len(),
        };
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests;
