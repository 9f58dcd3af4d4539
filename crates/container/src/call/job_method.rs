//! Methods that are jobs: the service's manifest has the command, the call fills it in.

use nesssi_rpc::{Fault, FaultCode, MethodName, Value};
use nesssi_service::JobTemplate;

use super::Decided;
use crate::grants::CallerGrant;
use crate::jobs::Submission;
use crate::registry::Service;
use crate::{Answer, Inner};

/// Admits and submits the job; the answer is its session.
pub(super) async fn start(
    inner: &Inner,
    service: &Service,
    who: &CallerGrant,
    template: &JobTemplate,
    method: &MethodName,
    params: &[Value],
) -> Decided {
    // What manifests say is code: who runs a job of it runs the folder's programs.
    let asked = match template.fill(&service.folder, params) {
        Ok(asked) => asked,
        Err(text) => return Decided::fault(Fault::new(FaultCode::InvalidParams, text)),
    };
    let submission = Submission {
        service: service.name.to_string(),
        method: method.to_string(),
        seconds: asked.seconds,
        session: None,
        command: nesssi_job::Command::Argv(asked.argv),
        shell_allowed: false,
        batch: template.batch().map(str::to_owned).or_else(|| service.batch.clone()),
    };
    match inner.jobs.submit(who, submission).await {
        Ok(session) => {
            let url = inner.jobs.url_of(&session);
            let reply = Ok(session.reveal().into());
            let answer = Answer { session: Some(url), ..Answer::of(reply) };
            Decided { session: Some(session), ..Decided::of(answer) }
        }
        Err(fault) => Decided::fault(fault),
    }
}
