//! Calls about prompts and tokens: nothing is generated.

use std::sync::Arc;

use ipc_proto::Result;
use ipc_proto::generate::Prompt;
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};

use super::call::{Target, answered};
use super::link::Link;
use super::{CALL_DEADLINE, Local, deadline};
use crate::validate::ValidPrompts;

fn of(valid: ValidPrompts) -> (Target, Vec<Prompt>) {
    let ValidPrompts { model, prompts, keep_alive, time_limit_ms } = valid;
    (Target { model, keep_alive, time_limit_ms, ..Target::default() }, prompts)
}

impl Local {
    /// Tokens of all the prompts as their model would see them.
    ///
    /// # Errors
    /// Unknown or broken model, a prompt that its template refuses.
    pub async fn count_tokens(self: &Arc<Self>, prompts: ValidPrompts) -> Result<u32> {
        let (target, prompts) = of(prompts);
        let call = async |link: Arc<Link>| {
            let mut count = 0;
            for prompt in &prompts {
                count +=
                    answered(link.client().count_tokens(deadline(CALL_DEADLINE), prompt.clone())).await?;
            }
            Ok(count)
        };
        self.call_between(target, call).await
    }

    /// The prompts as their model would see them.
    ///
    /// # Errors
    /// As [`Self::count_tokens`].
    pub async fn render(self: &Arc<Self>, prompts: ValidPrompts) -> Result<Vec<RenderedPrompt>> {
        let (target, prompts) = of(prompts);
        let call = async |link: Arc<Link>| {
            let mut rendered = Vec::with_capacity(prompts.len());
            for prompt in &prompts {
                let one = link.client().render(deadline(CALL_DEADLINE), prompt.clone());
                rendered.push(answered(one).await?);
            }
            Ok(rendered)
        };
        self.call_between(target, call).await
    }

    /// Text or prompt → token ids.
    ///
    /// # Errors
    /// As [`Self::count_tokens`].
    pub async fn tokenize(self: &Arc<Self>, target: Target, request: &TokenizeRequest) -> Result<Tokenized> {
        let call = async |link: Arc<Link>| {
            answered(link.client().tokenize(deadline(CALL_DEADLINE), request.clone())).await
        };
        self.call_between(target, call).await
    }

    /// Token ids → text.
    ///
    /// # Errors
    /// Unknown or broken model, a token id that it does not have.
    pub async fn detokenize(self: &Arc<Self>, target: Target, tokens: &[u32]) -> Result<String> {
        let call = async |link: Arc<Link>| {
            answered(link.client().detokenize(deadline(CALL_DEADLINE), tokens.to_vec())).await
        };
        self.call_between(target, call).await
    }
}
