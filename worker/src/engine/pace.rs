//! Limits the prompt tokens of a step while other sequences decode. Pure: numbers in, a number out.
//!
//! Prompt tokens lengthen the step for every sequence in it. So the pace measures the time of a decode-only step and the
//! time that each prompt token adds. One prompt gets as many tokens as keep a step within a fixed multiple of a
//! decode-only step.
//!
//! Several prompts also wait for each other, and a few long steps serve all of them sooner than many short ones. So their
//! share grows with the cube of their number (measured: the square took longer and disturbed more steps). That holds for
//! a few steps, in which short prompts finish. After that a fixed, larger multiple applies: otherwise eight long prompts
//! stretch every twentieth gap of the other streams to half a second. Measured: 550 ms without this bound, 120 ms with it,
//! for 4 % of the throughput.
//!
//! Unknown or old figures are measured again: now and then a step only decodes.

/// Longest step with tokens of one prompt, as a multiple of a decode-only step. Well below 2: steps vary, and towards the
/// end of a long prompt each token costs more. At 1.6 the median beside 4,000 tokens was 2.06.
const LONGEST: f64 = 1.4;
/// The same for several prompts, once they have taken more than [`CROWDED_STEPS`] steps.
const LONGEST_CROWDED: f64 = 3.0;
/// Steps in which the share of several prompts is unbounded.
const CROWDED_STEPS: u32 = 6;
/// Prompt tokens of a step while their cost is unknown.
const FIRST_TOKENS: usize = 16;
/// Prompt tokens of a step at least, however slow: a prompt must make progress.
const LEAST_TOKENS: usize = 4;
/// Steps after which the decode-only time is measured again.
const STALE_STEPS: u32 = 64;
/// Weight of a new measurement in the moving average.
const WEIGHT: f64 = 0.3;

/// Measured step times of this machine.
#[derive(Debug, Default)]
pub struct Pace {
    /// The last decode-only step.
    decode: Option<Decode>,
    /// Microseconds that a prompt token adds.
    per_token: Option<f64>,
    /// Mixed steps since at most one prompt was pending.
    crowded: u32,
}

#[derive(Debug)]
struct Decode {
    rows: usize,
    micros: f64,
    /// Steps since the measurement.
    age: u32,
}

impl Pace {
    /// Prompt tokens for a step with `decoding` decoding rows and `prompts` unfinished prompts.
    ///
    /// At most `most`; 0 only if some rows decode.
    pub fn prefill_tokens(&mut self, decoding: usize, prompts: usize, most: usize) -> usize {
        if prompts <= 1 {
            self.crowded = 0;
        }
        if decoding == 0 {
            return most;
        }
        let known = self.decode.as_ref().filter(|decode| decode.applies_to(decoding));
        let tokens = match (known, self.per_token) {
            (None, _) => 0,
            (Some(_), None) => FIRST_TOKENS,
            (Some(decode), Some(per_token)) => {
                let share = (LONGEST - 1.0) * (prompts.max(1) as f64).powi(3);
                let bound = if self.crowded < CROWDED_STEPS { f64::MAX } else { LONGEST_CROWDED - 1.0 };
                let share = share.min(bound);
                let affordable = decode.micros * share / per_token.max(1e-3);
                (affordable as usize).max(LEAST_TOKENS)
            }
        };
        tokens.min(most)
    }

    /// Records the time of a step with `decoding` rows and `prefilled` prompt tokens.
    pub fn observe(&mut self, decoding: usize, prefilled: usize, micros: f64) {
        if let Some(decode) = &mut self.decode {
            decode.age = decode.age.saturating_add(1);
        }
        self.crowded += u32::from(decoding > 0 && prefilled > 0);
        match (decoding, prefilled) {
            (0, 0) => {}
            (_, 0) => {
                let known = self.decode.as_ref().filter(|decode| decode.rows == decoding);
                let micros = known.map_or(micros, |known| blend(known.micros, micros));
                self.decode = Some(Decode { rows: decoding, micros, age: 0 });
            }
            _ => {
                let alone = self.decode.as_ref().filter(|_| decoding > 0).map_or(0.0, |decode| decode.micros);
                // If decoding was slower than before, the difference can be negative; the prompt still cost something.
                let own = (micros - alone).max(micros * 0.05) / prefilled as f64;
                // A higher cost counts at once, a lower one gradually.
                let known = self.per_token.filter(|known| *known > own);
                self.per_token = Some(known.map_or(own, |known| blend(known, own)));
            }
        }
    }
}

impl Decode {
    /// Whether it is recent and measured with a similar number of rows.
    fn applies_to(&self, rows: usize) -> bool {
        self.age <= STALE_STEPS && rows <= 2 * self.rows && self.rows <= 2 * rows
    }
}

fn blend(known: f64, new: f64) -> f64 {
    known + WEIGHT * (new - known)
}

#[cfg(test)]
mod tests;
