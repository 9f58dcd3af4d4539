//! Expiry: a session whose time is over is found by nobody, and its sandbox is removed by its
//! account, through its seal. What cannot be removed stays listed, with the reason.

use std::sync::Arc;
use std::time::Duration;

use nesssi_journal::Change;
use nesssi_privsep::messages::Seal;
use nesssi_session::SessionId;

use super::table::Number;
use super::{Core, batch, budget, is_absent};
use crate::clock::now_ms;
use crate::link::AskError;

/// How often is looked for sessions whose time is over.
pub(super) const EVERY: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 500 });

/// How often removed sessions are forgotten.
pub(super) const FORGET_EVERY: Duration = Duration::from_secs(6 * 3600);

/// For how long a removed session stays in the journal, in milliseconds.
const REMOVED_KEPT_MS: u64 = 30 * 24 * 3600 * 1000;

/// How many sandboxes are removed in one round: their accounts have other things to do too.
const REMOVALS_PER_ROUND: usize = 16;

/// How long until a failed removal is tried again, doubled each time, in milliseconds.
const AGAIN_MS_MIN: u64 = if cfg!(test) { 200 } else { 10_000 };

/// The longest such wait: a day.
const AGAIN_MS_MAX: u64 = 24 * 3600 * 1000;

/// One round.
pub(super) async fn expire(core: Arc<Core>) {
    let due = core.table().take_expired(now_ms(), REMOVALS_PER_ROUND);
    for number in due {
        // What went wrong is told where it happened, and tried again.
        let _removed_or_put_off = remove_hidden(&core, number).await;
    }
}

/// Removes a session that nobody finds any more, or puts it off.
///
/// # Errors
/// Why it was put off, for the owner.
pub(super) async fn remove_hidden(core: &Core, number: Number) -> Result<(), String> {
    let known = core.table().get(number).map(|entry| (entry.id.clone(), entry.seal.open()));
    let Some((id, seal)) = known else { return Ok(()) };
    if let Err(why) = batch::may_remove(core, number).await {
        tracing::warn!(session = %id, why, "a sandbox is kept for now");
        put_off(core, number, Some(why.to_owned())).await;
        return Err(why.to_owned());
    }
    let removed = remove(core, &id, &seal).await;
    let told = match &removed {
        Ok(()) => Ok(()),
        Err(error) => Err(trouble(error)),
    };
    settle(core, number, &id, removed).await;
    told
}

async fn remove(core: &Core, id: &SessionId, seal: &Seal) -> Result<(), AskError> {
    let jobmanager = core.needs.channels.tend(id.reveal(), seal).await?;
    match jobmanager.remove(id.reveal()).await {
        Err(error) if is_absent(&error) => Ok(()),
        other => other,
    }
}

async fn settle(core: &Core, number: Number, id: &SessionId, removed: Result<(), AskError>) {
    match removed {
        Ok(()) => {
            if let Err(error) = core.write(vec![Change::Removed { session: number }]).await {
                tracing::error!(session = %id, %error, "a removal could not be recorded");
                put_off(core, number, None).await;
                return;
            }
            core.table().remove(number);
            core.needs.audit.line("session_removed").text("session", id.short()).write();
            tracing::info!(session = %id, "a session's time is over: its sandbox is removed");
        }
        Err(error) => {
            tracing::warn!(session = %id, %error, "a sandbox could not be removed");
            put_off(core, number, Some(trouble(&error))).await;
        }
    }
}

/// For the owner: no path in it.
fn trouble(error: &AskError) -> String {
    match error {
        AskError::Refused(_) => "the account is no longer what it was".to_owned(),
        AskError::Failed { .. } => "not everything in the sandbox could be removed".to_owned(),
        AskError::Link(_) | AskError::Unfit => "the account cannot be had now".to_owned(),
    }
}

async fn put_off(core: &Core, number: Number, trouble: Option<String>) {
    let is_new = {
        let mut table = core.table();
        let Some(entry) = table.get_mut(number) else { return };
        let wait_ms = AGAIN_MS_MIN.saturating_mul(1 << entry.removals.min(20)).min(AGAIN_MS_MAX);
        entry.removals += 1;
        let is_new = trouble.is_some() && entry.trouble != trouble;
        entry.trouble = trouble.clone().or(entry.trouble.take());
        table.expire_at(number, now_ms().saturating_add(wait_ms));
        is_new
    };
    if let (true, Some(text)) = (is_new, trouble)
        && let Err(error) = core.write(vec![Change::Trouble { session: number, text }]).await
    {
        tracing::warn!(%error, "why a sandbox is left could not be recorded");
    }
}

/// Forgets what was removed, and used, long ago.
pub(super) async fn forget(core: Arc<Core>) {
    let before_ms = now_ms().saturating_sub(REMOVED_KEPT_MS);
    let forgotten = vec![Change::ForgetRemoved { before_ms }, budget::forgotten(now_ms())];
    if let Err(error) = core.write(forgotten).await {
        tracing::warn!(%error, "removed sessions and old use could not be forgotten");
    }
}
